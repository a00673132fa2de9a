"""What AWS assigns to the resources, and answers to the look-ups, of the unit tests."""

from collections.abc import Callable, Mapping
from typing import Any

REGION = "eu-central-1"
ACCOUNT = "123456789012"
ZONE_ID = "Z0123456789ABCDEFGHIJ"
AMI_ID = "ami-0123456789abcdef0"
DIGEST = "sha256:" + "0a1b2c3d" * 8
SERVED = "served-0a1b2c3d0a1b"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PASSWORD = "a-registry-password"
PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"

Inputs = dict[str, Any]


def arn(service: str, resource: str, *, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def physical(name: str) -> str:
    """A name as Pulumi makes it of a logical one, so that nothing passes that mistakes one for the other."""
    return f"{name}-1a2b3c4"


def _secret(arguments: Inputs) -> Inputs:
    name = arguments.get("name") or arguments["arn"].rsplit(":", 1)[-1]
    secret_arn = arguments.get("arn") or arn("secretsmanager", f"secret:{name}-AbCdEf")
    return {"arn": secret_arn, "name": name, "id": secret_arn, "kmsKeyId": "", "policy": ""}


def _subnet(arguments: Inputs) -> Inputs:
    """Two subnets of an existing VPC, in a zone each, of IPv4 alone."""
    zone = "ab"[int(arguments["id"][-1], 16) % 2]
    return {"id": arguments["id"], "vpcId": arguments["vpcId"], "availabilityZone": REGION + zone, "ipv6CidrBlock": ""}


ANSWERS: Mapping[str, Inputs | Callable[[Inputs], Inputs]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": {
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/somebody",
        "id": ACCOUNT,
        "userId": "AIDA",
    },
    "aws:index/getAvailabilityZones:getAvailabilityZones": {
        "id": REGION,
        "names": [f"{REGION}c", f"{REGION}a", f"{REGION}b"],
        "zoneIds": ["euc1-az1", "euc1-az2", "euc1-az3"],
    },
    "aws:route53/getZone:getZone": {"id": ZONE_ID, "zoneId": ZONE_ID, "name": "booklinktrove.com"},
    "aws:ssm/getParameter:getParameter": lambda args: {
        "id": args["name"],
        "name": args["name"],
        "value": AMI_ID,
        "version": 7,
    },
    "aws:ec2/getAmi:getAmi": lambda args: {"id": args["filters"][0]["values"][0], "architecture": "x86_64"},
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:secretsmanager/getSecret:getSecret": _secret,
    "aws:secretsmanager/getSecretVersions:getSecretVersions": lambda args: {
        "id": args["secretId"],
        "secretId": args["secretId"],
        "versions": [
            {"versionId": "version-1", "versionStages": ["AWSPREVIOUS"]},
            {"versionId": "version-2", "versionStages": ["AWSCURRENT"]},
        ],
    },
    "aws:ecr/getRepository:getRepository": lambda args: {
        "id": args["name"],
        "name": args["name"],
        "arn": arn("ecr", f"repository/{args['name']}"),
        "repositoryUrl": f"{REGISTRY}/{args['name']}",
    },
    "aws:ecr/getImage:getImage": lambda args: {
        "id": DIGEST,
        "imageDigest": DIGEST,
        "imageTag": args["imageTag"],
        "imageTags": [args["imageTag"], SERVED],
    },
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": {
        "id": REGION,
        "userName": "AWS",
        "password": PASSWORD,
        "proxyEndpoint": f"https://{REGISTRY}",
        "authorizationToken": "QVdTOmE=",
    },
}
"""What a look-up finds, by its token."""


def _named(service: str, kind: str) -> Callable[[str, Inputs], Inputs]:
    """A resource that has a physical name, and an ARN with it."""

    def assigned(name: str, inputs: Inputs) -> Inputs:
        given = inputs.get("name") or physical(name)
        return {"name": given, "id": given, "arn": arn(service, f"{kind}{given}")}

    return assigned


def _identified(prefix: str) -> Callable[[str, Inputs], Inputs]:
    return lambda name, _: {"id": f"{prefix}-{name}"}


def _of_iam(kind: str) -> Callable[[str, Inputs], Inputs]:
    return lambda name, _: {
        "name": physical(name),
        "id": physical(name),
        "arn": arn("iam", f"{kind}/{physical(name)}", region=""),
    }


def _vpc(name: str, _: Inputs) -> Inputs:
    return {"id": f"vpc-{name}", "ipv6CidrBlock": "2001:db8:aa:bb00::/56"}


def _repository(_: str, inputs: Inputs) -> Inputs:
    name = inputs["name"]
    return {"id": name, "arn": arn("ecr", f"repository/{name}"), "repositoryUrl": f"{REGISTRY}/{name}"}


def _image(_: str, inputs: Inputs) -> Inputs:
    repository, _, tag = inputs["imageName"].rpartition(":")
    return {"id": f"{repository}:{tag}", "repoDigest": f"{repository}@{DIGEST}", "baseImageName": repository}


def _certificate(name: str, inputs: Inputs) -> Inputs:
    domain = inputs["domainName"]
    return {
        "id": arn("acm", f"certificate/{name}"),
        "arn": arn("acm", f"certificate/{name}"),
        "domainValidationOptions": [
            {
                "domainName": domain,
                "resourceRecordName": f"_proof.{domain}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_proof.acm-validations.aws.",
            }
        ],
    }


def _load_balancer(name: str, _: Inputs) -> Inputs:
    return {
        "id": arn("elasticloadbalancing", f"loadbalancer/app/{physical(name)}/50dc6c495c0c9188"),
        "arn": arn("elasticloadbalancing", f"loadbalancer/app/{physical(name)}/50dc6c495c0c9188"),
        "dnsName": f"{physical(name)}-1234567890.{REGION}.elb.amazonaws.com",
        "zoneId": "Z215JYRZR1TBD5",
    }


def _launch_template(name: str, _: Inputs) -> Inputs:
    return {"id": f"lt-{name}", "name": physical(name), "latestVersion": 7, "defaultVersion": 7}


def _log_group(_: str, inputs: Inputs) -> Inputs:
    name = f"{inputs['namePrefix']}20260101000000000000000001"
    return {"id": name, "name": name, "arn": arn("logs", f"log-group:{name}")}


def _task_definition(_: str, inputs: Inputs) -> Inputs:
    return {"id": inputs["family"], "arn": arn("ecs", f"task-definition/{inputs['family']}:3"), "revision": 3}


ASSIGNED: Mapping[str, Callable[[str, Inputs], Inputs]] = {
    "pulumi:providers:aws": _identified("provider"),
    "aws:acm/certificate:Certificate": _certificate,
    "aws:acm/certificateValidation:CertificateValidation": lambda name, inputs: {
        "id": f"{name}-validated",
        "certificateArn": inputs["certificateArn"],
    },
    "aws:appautoscaling/policy:Policy": _named("autoscaling", "scalingPolicy:"),
    "aws:appautoscaling/target:Target": lambda _, inputs: {"id": inputs["resourceId"]},
    "aws:autoscaling/group:Group": _named("autoscaling", "autoScalingGroup:uuid:autoScalingGroupName/"),
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _identified("sg"),
    "aws:ec2/internetGateway:InternetGateway": _identified("igw"),
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:ec2/route:Route": _identified("r"),
    "aws:ec2/routeTable:RouteTable": _identified("rtb"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _identified("rtbassoc"),
    "aws:ec2/securityGroup:SecurityGroup": _identified("sg"),
    "aws:ec2/subnet:Subnet": _identified("subnet"),
    "aws:ec2/vpc:Vpc": _vpc,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": _identified("lifecycle"),
    "aws:ecr/repository:Repository": _repository,
    "aws:ecs/capacityProvider:CapacityProvider": _named("ecs", "capacity-provider/"),
    "aws:ecs/cluster:Cluster": _named("ecs", "cluster/"),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": lambda _, inputs: {"id": inputs["clusterName"]},
    "aws:ecs/service:Service": _named("ecs", "service/cluster/"),
    "aws:ecs/taskDefinition:TaskDefinition": _task_definition,
    "aws:iam/instanceProfile:InstanceProfile": _of_iam("instance-profile"),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda *_: {"id": PROVIDER_ARN, "arn": PROVIDER_ARN},
    "aws:iam/policy:Policy": _of_iam("policy"),
    "aws:iam/role:Role": _of_iam("role"),
    "aws:iam/rolePolicy:RolePolicy": _of_iam("policy"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _identified("attachment"),
    "aws:lb/listener:Listener": lambda name, _: {
        "id": arn("elasticloadbalancing", f"listener/app/{name}/1"),
        "arn": arn("elasticloadbalancing", f"listener/app/{name}/1"),
    },
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer,
    "aws:lb/targetGroup:TargetGroup": _named("elasticloadbalancing", "targetgroup/"),
    "aws:route53/record:Record": lambda name, inputs: {
        "id": f"{inputs['zoneId']}_{name}",
        "fqdn": inputs["name"].rstrip("."),
    },
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _identified("sgr"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _identified("sgr"),
    "docker:index/image:Image": _image,
}
"""What AWS, or Docker, assigns to a resource of its logical name and inputs, by its type."""
