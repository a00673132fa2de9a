"""Ready commands for whoever looks after an environment."""


def runbook(
    *,
    stack: str,
    region: str,
    cluster: str,
    service: str,
    log_group: str,
    auto_scaling_group: str,
    task_definition: str,
    secrets: list[str],
    builds: bool,
    repository: str,
) -> dict[str, str]:
    """Return commands by what they are for. They need the AWS command, and its Session Manager plugin for a shell.

    A stack that `builds` its image has no released one to go back to by its tag.
    """
    aws = f"aws --region {region}"
    family, _, _ = task_definition.rsplit("/", 1)[-1].rpartition(":")
    instance = (
        f"$({aws} autoscaling describe-auto-scaling-groups --auto-scaling-group-names {auto_scaling_group} "
        "--query 'AutoScalingGroups[0].Instances[0].InstanceId' --output text)"
    )
    in_container = (
        "sudo docker exec -it "
        f"$(sudo docker ps -q -f label=com.amazonaws.ecs.task-definition-family={family} | head -n 1) sh"
    )
    commands = {
        "logs": f"{aws} logs tail {log_group} --follow",
        "events": f"{aws} ecs describe-services --cluster {cluster} --services {service} "
        "--query 'services[0].events[:10].message' --output text",
        "shellOnInstance": f"{aws} ssm start-session --target {instance}",
        "shellInContainer": f"{aws} ssm start-session --target {instance} "
        f'--document-name AWS-StartInteractiveCommand --parameters \'{{"command":["{in_container}"]}}\'',
        "redeploy": f"{aws} ecs update-service --cluster {cluster} --service {service} --force-new-deployment",
    }
    if not builds:
        commands["rollBack"] = f"pulumi up --stack {stack} --config tag=vPREVIOUS"
        commands["releases"] = (
            f"{aws} ecr describe-images --repository-name {repository} --filter tagStatus=TAGGED --query "
            "'sort_by(imageDetails,&imagePushedAt)[].imageTags' --output json"
        )
    for secret in secrets:
        commands[f"secret {secret}"] = f"{aws} secretsmanager describe-secret --secret-id {secret}"
    return commands
