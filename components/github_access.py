"""GitHub's way into AWS: what its workflows may preview and deploy this environment with, and no stored key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from components.github_policies import (
    AUDIENCE,
    ISSUER,
    MANAGED_POLICY_LIMIT,
    Environment,
    boundary_policy,
    deploy_policies,
    deploy_subjects,
    github_trust,
    preview_policy,
    preview_subjects,
    size,
)
from components.lookups import LookUp, ask
from components.policies import Policy

ABSENT = ("not found", "couldn't find resource")
"""How the AWS provider says that there is no OIDC provider, by its version.

https://github.com/hashicorp/terraform-provider-aws/blob/main/internal/service/iam/openid_connect_provider_data_source.go
"""


@dataclass(frozen=True, kw_only=True)
class GitHubAccessArgs:
    """`repository` and `branch` on GitHub; `owns_provider` where this environment has the account's OIDC provider."""

    repository: str
    branch: str
    owns_provider: bool
    environment: Environment


class GitHubAccess(pulumi.ComponentResource):
    """Two roles for the workflows of one repository on GitHub: one only previews, one deploys this environment.

    Makes: the roles and their policies, the boundary of all other roles of the environment, and with `owns_provider`
    the account's OIDC provider for GitHub. All of it is protected: the deploying role may not change it, so that its
    own `destroy` must leave it. Costs: nothing. Depends on: nothing that `destroy` takes away.
    """

    preview_role_arn: Output[str]
    deploy_role_arn: Output[str]
    boundary_arn: Output[str]

    def __init__(self, name: str, args: GitHubAccessArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("booklink:backend:GitHubAccess", name, None, opts)
        self._name = name
        self._environment = environment = args.environment
        self._child = ResourceOptions(parent=self, protect=True)
        provider = [self._oidc_provider()] if args.owns_provider else []
        self.boundary_arn = self._policy(
            "boundary", boundary_policy(environment), "The most that any role of the environment can do"
        ).arn
        preview = self._policy("preview", preview_policy(environment), "What a preview asks for")
        parts = [
            self._policy(part, document, "What a deployment asks for, besides a preview")
            for part, document in deploy_policies(environment).items()
        ]
        self.preview_role_arn = self._role(
            "preview",
            "GitHub's workflows: preview, and nothing else",
            subjects=preview_subjects(args.repository, branch=args.branch),
            policies=[preview],
            provider=provider,
        )
        self.deploy_role_arn = self._role(
            "deploy",
            "GitHub's workflows: deploy this environment, and nothing else",
            subjects=deploy_subjects(
                args.repository,
                branch=args.branch,
                environment=environment.state.stack,
                builds=environment.builds,
            ),
            policies=[preview, *parts],
            provider=provider,
        )
        self.register_outputs({"previewRole": self.preview_role_arn, "deployRole": self.deploy_role_arn})

    def _oidc_provider(self) -> aws.iam.OpenIdConnectProvider:
        # No thumbprint: AWS knows the certificates of GitHub's issuer.
        return aws.iam.OpenIdConnectProvider(
            f"{self._name}-github", url=f"https://{ISSUER}", client_id_lists=[AUDIENCE], opts=self._child
        )

    def _policy(self, what: str, document: Policy, description: str) -> aws.iam.Policy:
        if (length := size(document)) > MANAGED_POLICY_LIMIT:
            raise pulumi.RunError(
                f"github: the policy {self._environment.github_name(what)} would have {length} characters, and AWS "
                f"allows {MANAGED_POLICY_LIMIT}. Name fewer secrets (container.secrets, container.readableSecrets): "
                "one secret can hold several values as JSON keys"
            )
        return aws.iam.Policy(
            f"{self._name}-{what}",
            name=self._environment.github_name(what),
            path=self._environment.github_path,
            description=description,
            policy=json.dumps(document),
            opts=self._child,
        )

    def _role(
        self,
        what: str,
        description: str,
        *,
        subjects: list[str],
        policies: list[aws.iam.Policy],
        provider: list[aws.iam.OpenIdConnectProvider],
    ) -> Output[str]:
        environment = self._environment
        role = aws.iam.Role(
            f"{self._name}-{what}",
            name=environment.github_name(what),
            path=environment.github_path,
            description=description,
            assume_role_policy=json.dumps(github_trust(environment.provider_arn, subjects)),
            opts=ResourceOptions(parent=self, protect=True, depends_on=provider),
        )
        for index, each in enumerate(policies):
            aws.iam.RolePolicyAttachment(
                f"{self._name}-{what}-{index}", role=role.name, policy_arn=each.arn, opts=self._child
            )
        return role.arn


def find_provider(provider: aws.Provider, *, tags: Mapping[str, str], builds: bool, owner: str) -> LookUp[bool]:
    """Look for the account's OIDC provider for GitHub; the answer is whether this environment is to declare it.

    An account has one for each issuer. The environment that builds declares it where there is none, or where it is its
    own, by its `tags`; another program's is used as it is. `owner` is the stack that builds.
    """

    async def owns() -> bool | None:
        try:
            found = await ask(
                provider,
                "aws:iam/getOpenIdConnectProvider:getOpenIdConnectProvider",
                aws.iam.GetOpenIdConnectProviderResult,
                url=f"https://{ISSUER}",
            )
        except Exception as error:
            if not any(words in str(error) for words in ABSENT):
                raise
            return True if builds else None
        return builds and tags.items() <= found.tags.items()

    return LookUp(
        owns(),
        missing=f"github: there is no OIDC provider for https://{ISSUER} in this account; give {owner} the setting too "
        f"and run `pulumi up --stack {owner}` first, with the rights of an administrator",
    )
