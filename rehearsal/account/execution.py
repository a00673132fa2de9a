"""What the ECS agent calls AWS for before a task's containers start, as IAM lets it.

It pulls images, opens log streams and reads what is injected with the task's execution role; where a task has none,
with its instance's role, which injects no secret. The errors are the agent's own, which ECS shows as a task's stopped
reason: on EC2 they are worded otherwise than on Fargate, where they begin with ResourceInitializationError.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/instance_IAM_role.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-not-found-error.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.account import credentials, images
from rehearsal.account.mending import OK, ministack

_actions = ministack("core.iam_actions")
_ec2 = ministack("services.ec2")
_ecr = ministack("services.ecr")
_ecs = ministack("services.ecs")
_evaluator = ministack("core.iam_evaluator")
_iam = ministack("services.iam")
_kms = ministack("services.kms")
_responses = ministack("core.responses")
_secrets_manager = ministack("services.secretsmanager")
_ssm = ministack("services.ssm")

Record = Mapping[str, Any]

_AWS_KEYS = ("", "alias/aws/secretsmanager", "alias/aws/ssm")
"""The keys of AWS that secrets and parameters have by default, and whoever may read these needs no right to."""


class AgentError(Exception):
    """The agent can't have what a task needs; the text is its own."""


@dataclass(frozen=True)
class Agent:
    """The agent, for one task; `key` is the access key of a session of the role that it uses, "" where it has none."""

    key: str

    def denial(self, action: str, resource: str, context: Record | None = None) -> str:
        """Why IAM doesn't allow an action, in its own words; "" where it does. `context` has condition keys."""
        service, region = action.partition(":")[0], _responses.get_region()
        refused = _evaluator.enforce(self.key, action, service, region, resource, dict(context or {}))
        if refused is None:
            return ""
        return str(
            _actions.identity_denial_message(action, refused.principal_arn, resource, refused.decision == "Deny")
        )


def agent(task: Record, task_definition: Record) -> Agent:
    """The agent as it starts this task."""
    role, session = task_definition.get("executionRoleArn"), task["taskArn"].rsplit("/", 1)[-1]
    if not role:
        role, session = instance_role(task), task.get("_instance_id", "")
    return Agent(key=credentials.session(role, session)["AccessKeyId"] if role else "")


def instance_role(task: Record) -> str | None:
    """The ARN of the role in the profile of a task's instance, if there is one."""
    instance = _ec2._instances.get(task.get("_instance_id")) or {}
    given = instance.get("IamInstanceProfile") or {}
    profile = _iam._lookup_instance_profile(given.get("Name", ""), given.get("Arn", "")) if given else None
    names = (profile or {}).get("Roles") or []
    return next((str(_iam._roles[name]["Arn"]) for name in names if name in _iam._roles), None)


def may_pull(who: Agent, repository: str) -> None:
    """Ask whether the agent may pull from a repository of this account's ECR; others are not ECR's to judge.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html

    Raises:
        AgentError: it may not.
    """
    if images.login(repository) is None:
        return
    if not who.key:
        raise AgentError(f"CannotPullECRContainerError: operation error ECR: GetAuthorizationToken, {_NO_CREDENTIALS}")
    if denial := who.denial("ecr:GetAuthorizationToken", "*"):
        raise AgentError(f"CannotPullECRContainerError: {_denied('ECR', 'GetAuthorizationToken', denial)}")
    arn = _ecr._repo_arn(repository.partition("/")[2])
    if denial := who.denial("ecr:BatchGetImage", arn):
        raise AgentError(
            "CannotPullContainerError: The task can\N{RIGHT SINGLE QUOTATION MARK}t pull the image. Check that the "
            "role has the permissions to pull images from the registry. Error response from daemon: pull access denied "
            f"for {repository}, repository does not exist or may require 'docker login': denied: {denial}"
        )
    if denial := who.denial("ecr:GetDownloadUrlForLayer", arn):
        raise AgentError(
            "CannotPullContainerError: Error response from daemon: error pulling image configuration: download failed "
            f"after attempts=1: denied: {denial}"
        )


def may_log(who: Agent, log: Record) -> None:
    """Ask whether the agent may open a log stream, `log` being the options of the awslogs driver.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cannot-start-container.html

    Raises:
        AgentError: it may not, or the group isn't there.
    """
    opening = "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to "
    with _responses.request_scope(_responses.get_account_id(), log["region"]):
        if not who.key:
            raise AgentError(
                f"{opening}create Cloudwatch log stream: operation error CloudWatch Logs: CreateLogStream, "
                f"{_NO_CREDENTIALS}"
            )
        if denial := who.denial("logs:CreateLogStream", _stream_arn(log)):
            words = _denied("CloudWatch Logs", "CreateLogStream", denial)
            raise AgentError(f"{opening}create Cloudwatch log stream: {words}")
        if not _ecs._ensure_awslogs_stream(log):
            missing = _failed(
                "CloudWatch Logs",
                "CreateLogStream",
                "ResourceNotFoundException: The specified log group does not exist.",
            )
            raise AgentError(f"{opening}create Cloudwatch log stream: {missing}")


def may_write(who: Agent, log: Record) -> bool:
    """Whether what the container logs arrives: the driver that may not write drops it, and the container runs on."""
    with _responses.request_scope(_responses.get_account_id(), log["region"]):
        return not who.denial("logs:PutLogEvents", _stream_arn(log))


def _stream_arn(log: Record) -> str:
    place = f"{log['region']}:{_responses.get_account_id()}"
    return f"arn:aws:logs:{place}:log-group:{log['group']}:log-stream:{log['stream']}"


def injected(who: Agent, container: Record) -> dict[str, str]:
    """Read what a container definition's `secrets` name, by variable.

    Raises:
        AgentError: one can't be read; all that can't are named.
    """
    found, failures = {}, []
    for each in container.get("secrets") or []:
        try:
            reader = _secret if ":secretsmanager:" in each["valueFrom"] else _parameter
            found[each["name"]] = reader(who, each["valueFrom"])
        except AgentError as failure:
            failures.append(str(failure))
    if failures:
        # ECS begins a reason with a capital letter, which the agent does not.
        text = ";".join(dict.fromkeys(failures))
        raise AgentError(text[:1].upper() + text[1:])
    return found


def _secret(who: Agent, value_from: str) -> str:
    """Read a secret, or one JSON key of it: ARN, and after it `:json-key:version-stage:version-id`.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    """
    parts = value_from.split(":")
    name, selectors = ":".join(parts[:7]), [*parts[7:], "", "", ""]
    key, stage, version = selectors[:3]
    asked = {"SecretId": name, "VersionStage": stage, "VersionId": version}
    with _responses.request_scope(_responses.get_account_id(), parts[3]):
        _, secret = _secrets_manager._resolve(name)
        arn = secret["ARN"] if secret else name
        if denial := who.denial("secretsmanager:GetSecretValue", arn):
            raise AgentError(_wrapped(name, _denied("Secrets Manager", "GetSecretValue", denial)))
        status, _, body = _secrets_manager._get_secret_value({k: v for k, v in asked.items() if v})
        answer = json.loads(body)
        if status != OK:
            code, message = answer["__type"], answer.get("message") or answer.get("Message")
            raise AgentError(_wrapped(name, _failed("Secrets Manager", "GetSecretValue", f"{code}: {message}")))
        own_key = secret.get("KmsKeyId") or ""
        if _may_not_decrypt(who, own_key, "secretsmanager", {"SecretARN": arn}):
            # Secrets Manager doesn't say which key, nor who asked.
            words = "Access to KMS is not allowed"
            raise AgentError(_wrapped(name, _denied("Secrets Manager", "GetSecretValue", words)))
    value = str(answer.get("SecretString", ""))
    return _json_key(value, key) if key else value


def _json_key(value: str, key: str) -> str:
    try:
        document = json.loads(value)
    except ValueError:
        first = value[:1] or "end of JSON input"
        raise AgentError(f"invalid character '{first}' looking for beginning of value") from None
    if not isinstance(document, dict) or key not in document:
        raise AgentError(f"retrieved secret from Secrets Manager did not contain json key {key}")
    return str(document[key])


def _parameter(who: Agent, value_from: str) -> str:
    """Read an SSM parameter by its ARN, or by its name in this region.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-ssm-paramstore.html
    """
    here = _responses.get_region()
    region = value_from.split(":")[3] if value_from.startswith("arn:") else here
    name = value_from.partition(":parameter")[2] or value_from
    arn = f"arn:aws:ssm:{region}:{_responses.get_account_id()}:parameter/{name.lstrip('/')}"
    reading = f"fetching secret data from SSM Parameter Store in {region}: "
    with _responses.request_scope(_responses.get_account_id(), region):
        if denial := who.denial("ssm:GetParameters", arn):
            raise AgentError(reading + _denied("SSM", "GetParameters", denial))
        value = _ssm.resolve_parameter_value(value_from)
        if value is None:
            raise AgentError(f"{reading}invalid parameters: {name}")
        _, parameter = _ssm._lookup_parameter(value_from, flexible_name=True)
        own_key = (parameter or {}).get("KeyId") or ""
        if denial := _may_not_decrypt(who, own_key, "ssm", {"PARAMETER_ARN": arn}):
            raise AgentError(reading + _denied("SSM", "GetParameters", denial))
    return str(value)


def _may_not_decrypt(who: Agent, key: str, service: str, encryption_context: Record) -> str:
    """Why the agent may not use a KMS key through a service; "" where it may, or where the key is AWS's.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
    """
    if key in _AWS_KEYS:
        return ""
    known = _kms._resolve_key(key)
    region = _responses.get_region()
    context = {f"kms:EncryptionContext:{name}": value for name, value in encryption_context.items()}
    return who.denial(
        "kms:Decrypt",
        known["Arn"] if known else key,
        {"kms:ViaService": f"{service}.{region}.amazonaws.com", **context},
    )


_NO_CREDENTIALS = (
    "get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found, operation error "
    "ec2imds: GetMetadata, http response error StatusCode: 404"
)


def _wrapped(secret: str, error: str) -> str:
    """An error about a secret as the agent has it: explained first, then as it came."""
    if "ResourceNotFoundException" in error:
        return (
            f"ResourceNotFoundException: The task can't retrieve the secret with ARN '{secret}' from AWS Secrets "
            f"Manager. Check whether the secret exists in the specified Region: {error}"
        )
    return f"secret {secret}: {error}: {error}"


def _denied(service: str, operation: str, message: str) -> str:
    return _failed(service, operation, f"api error AccessDeniedException: {message}")


def _failed(service: str, operation: str, error: str) -> str:
    """How AWS's SDK for Go, which the agent and Docker use, words an error."""
    request = _responses.new_uuid()
    return (
        f"operation error {service}: {operation}, https response error StatusCode: 400, RequestID: {request}, {error}"
    )
