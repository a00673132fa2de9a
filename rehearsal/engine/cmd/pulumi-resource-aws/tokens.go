package main

import (
	"context"
	"strings"
	"unicode"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

// resourceNames gives each Terraform resource type its module and class in pulumi_aws.
var resourceNames = map[string]string{
	"aws_acm_certificate":                 "acm/Certificate",
	"aws_acm_certificate_validation":      "acm/CertificateValidation",
	"aws_appautoscaling_policy":           "appautoscaling/Policy",
	"aws_appautoscaling_scheduled_action": "appautoscaling/ScheduledAction",
	"aws_appautoscaling_target":           "appautoscaling/Target",
	"aws_autoscaling_attachment":          "autoscaling/Attachment",
	"aws_autoscaling_group":               "autoscaling/Group",
	"aws_autoscaling_lifecycle_hook":      "autoscaling/LifecycleHook",
	"aws_autoscaling_policy":              "autoscaling/Policy",
	"aws_autoscaling_schedule":            "autoscaling/Schedule",
	"aws_budgets_budget":                  "budgets/Budget",
	"aws_cloudwatch_composite_alarm":      "cloudwatch/CompositeAlarm",
	"aws_cloudwatch_dashboard":            "cloudwatch/Dashboard",
	"aws_cloudwatch_event_rule":           "cloudwatch/EventRule",
	"aws_cloudwatch_event_target":         "cloudwatch/EventTarget",
	"aws_cloudwatch_log_group":            "cloudwatch/LogGroup",
	"aws_cloudwatch_log_metric_filter":    "cloudwatch/LogMetricFilter",
	"aws_cloudwatch_metric_alarm":         "cloudwatch/MetricAlarm",
	"aws_default_security_group":          "ec2/DefaultSecurityGroup",
	"aws_ecr_lifecycle_policy":            "ecr/LifecyclePolicy",
	"aws_ecr_repository":                  "ecr/Repository",
	"aws_ecr_repository_policy":           "ecr/RepositoryPolicy",
	"aws_ecs_account_setting_default":     "ecs/AccountSettingDefault",
	"aws_ecs_capacity_provider":           "ecs/CapacityProvider",
	"aws_ecs_cluster":                     "ecs/Cluster",
	"aws_ecs_cluster_capacity_providers":  "ecs/ClusterCapacityProviders",
	"aws_ecs_service":                     "ecs/Service",
	"aws_ecs_task_definition":             "ecs/TaskDefinition",
	"aws_eip":                             "ec2/Eip",
	"aws_iam_instance_profile":            "iam/InstanceProfile",
	"aws_iam_openid_connect_provider":     "iam/OpenIdConnectProvider",
	"aws_iam_policy":                      "iam/Policy",
	"aws_iam_role":                        "iam/Role",
	"aws_iam_role_policy":                 "iam/RolePolicy",
	"aws_iam_role_policy_attachment":      "iam/RolePolicyAttachment",
	"aws_internet_gateway":                "ec2/InternetGateway",
	"aws_key_pair":                        "ec2/KeyPair",
	"aws_kms_alias":                       "kms/Alias",
	"aws_kms_key":                         "kms/Key",
	"aws_launch_configuration":            "ec2/LaunchConfiguration",
	"aws_launch_template":                 "ec2/LaunchTemplate",
	"aws_lb":                              "lb/LoadBalancer",
	"aws_lb_listener":                     "lb/Listener",
	"aws_lb_listener_certificate":         "lb/ListenerCertificate",
	"aws_lb_listener_rule":                "lb/ListenerRule",
	"aws_lb_target_group":                 "lb/TargetGroup",
	"aws_lb_target_group_attachment":      "lb/TargetGroupAttachment",
	"aws_nat_gateway":                     "ec2/NatGateway",
	"aws_route":                           "ec2/Route",
	"aws_route53_health_check":            "route53/HealthCheck",
	"aws_route53_record":                  "route53/Record",
	"aws_route53_zone":                    "route53/Zone",
	"aws_route_table":                     "ec2/RouteTable",
	"aws_route_table_association":         "ec2/RouteTableAssociation",
	"aws_s3_bucket":                       "s3/Bucket",
	"aws_s3_bucket_policy":                "s3/BucketPolicy",
	"aws_s3_bucket_public_access_block":   "s3/BucketPublicAccessBlock",
	"aws_secretsmanager_secret":           "secretsmanager/Secret",
	"aws_secretsmanager_secret_version":   "secretsmanager/SecretVersion",
	"aws_security_group":                  "ec2/SecurityGroup",
	"aws_security_group_rule":             "ec2/SecurityGroupRule",
	"aws_sns_topic":                       "sns/Topic",
	"aws_sns_topic_policy":                "sns/TopicPolicy",
	"aws_sns_topic_subscription":          "sns/TopicSubscription",
	"aws_sqs_queue":                       "sqs/Queue",
	"aws_ssm_parameter":                   "ssm/Parameter",
	"aws_subnet":                          "ec2/Subnet",
	"aws_vpc":                             "ec2/Vpc",
	"aws_vpc_endpoint":                    "ec2/VpcEndpoint",
	"aws_vpc_security_group_egress_rule":  "vpc/SecurityGroupEgressRule",
	"aws_vpc_security_group_ingress_rule": "vpc/SecurityGroupIngressRule",
	"aws_wafv2_web_acl":                   "wafv2/WebAcl",
	"aws_wafv2_web_acl_association":       "wafv2/WebAclAssociation",
}

// dataSourceNames gives each Terraform data source its module and function in pulumi_aws.
var dataSourceNames = map[string]string{
	"aws_acm_certificate":                "acm/getCertificate",
	"aws_ami":                            "ec2/getAmi",
	"aws_autoscaling_group":              "autoscaling/getGroup",
	"aws_availability_zones":             "index/getAvailabilityZones",
	"aws_caller_identity":                "index/getCallerIdentity",
	"aws_cloudwatch_log_group":           "cloudwatch/getLogGroup",
	"aws_default_tags":                   "index/getDefaultTags",
	"aws_ec2_instance_type":              "ec2/getInstanceType",
	"aws_ec2_managed_prefix_list":        "ec2/getManagedPrefixList",
	"aws_ecr_authorization_token":        "ecr/getAuthorizationToken",
	"aws_ecr_image":                      "ecr/getImage",
	"aws_ecr_repository":                 "ecr/getRepository",
	"aws_ecs_cluster":                    "ecs/getCluster",
	"aws_ecs_service":                    "ecs/getService",
	"aws_ecs_task_definition":            "ecs/getTaskDefinition",
	"aws_elb_service_account":            "elb/getServiceAccount",
	"aws_iam_openid_connect_provider":    "iam/getOpenIdConnectProvider",
	"aws_iam_policy":                     "iam/getPolicy",
	"aws_iam_policy_document":            "iam/getPolicyDocument",
	"aws_iam_role":                       "iam/getRole",
	"aws_internet_gateway":               "ec2/getInternetGateway",
	"aws_kms_key":                        "kms/getKey",
	"aws_lb":                             "lb/getLoadBalancer",
	"aws_lb_target_group":                "lb/getTargetGroup",
	"aws_partition":                      "index/getPartition",
	"aws_region":                         "index/getRegion",
	"aws_route53_zone":                   "route53/getZone",
	"aws_route_table":                    "ec2/getRouteTable",
	"aws_secretsmanager_secret":          "secretsmanager/getSecret",
	"aws_secretsmanager_secret_version":  "secretsmanager/getSecretVersion",
	"aws_secretsmanager_secret_versions": "secretsmanager/getSecretVersions",
	"aws_security_group":                 "ec2/getSecurityGroup",
	"aws_ssm_parameter":                  "ssm/getParameter",
	"aws_subnet":                         "ec2/getSubnet",
	"aws_subnets":                        "ec2/getSubnets",
	"aws_vpc":                            "ec2/getVpc",
	"aws_vpcs":                           "ec2/getVpcs",
}

// fields are the properties of resources that pulumi_aws names, or shapes, otherwise than the bridge does by itself.
var fields = map[string]map[string]*tfbridge.SchemaInfo{
	"aws_cloudwatch_metric_alarm": {"alarm_name": tfbridge.AutoName("name", 255, "-")},
	"aws_default_security_group":  {"egress": {Name: "egress"}, "ingress": {Name: "ingress"}},
	"aws_lb":                      {"name": tfbridge.AutoName("name", 32, "-")},
	"aws_lb_target_group":         {"name": tfbridge.AutoName("name", 32, "-")},
	"aws_route53_record": {
		"alias":                      {Name: "aliases", MaxItemsOne: tfbridge.False()},
		"failover_routing_policy":    {Name: "failoverRoutingPolicies", MaxItemsOne: tfbridge.False()},
		"geolocation_routing_policy": {Name: "geolocationRoutingPolicies", MaxItemsOne: tfbridge.False()},
		"latency_routing_policy":     {Name: "latencyRoutingPolicies", MaxItemsOne: tfbridge.False()},
		"weighted_routing_policy":    {Name: "weightedRoutingPolicies", MaxItemsOne: tfbridge.False()},
	},
	"aws_security_group":         {"egress": {Name: "egress"}, "ingress": {Name: "ingress"}},
	"aws_sns_topic_subscription": {"topic_arn": {Name: "topic"}},
}

// resultFields are the same for data sources.
var resultFields = map[string]map[string]*tfbridge.SchemaInfo{
	"aws_lb_target_group": {"health_check": {MaxItemsOne: tfbridge.True()}, "stickiness": {MaxItemsOne: tfbridge.True()}},
	"aws_region":          {"name": {Name: "region"}},
}

// settings are the provider's own properties of which pulumi_aws takes one, where Terraform takes a list.
var settings = map[string]*tfbridge.SchemaInfo{
	"assume_role_with_web_identity": {MaxItemsOne: tfbridge.True()},
	"default_tags":                  {MaxItemsOne: tfbridge.True()},
	"ignore_tags":                   {MaxItemsOne: tfbridge.True()},
}

// rewrites are the inputs that the bridged provider, older than the one behind pulumi_aws, does not take as they are.
var rewrites = map[string]tfbridge.PreCheckCallback{"aws_ecr_repository": withoutTagExclusions}

// withoutTagExclusions makes a repository whose immutability has exclusions a mutable one.
func withoutTagExclusions(
	_ context.Context, inputs resource.PropertyMap, _ resource.PropertyMap,
) (resource.PropertyMap, error) {
	if m := inputs["imageTagMutability"]; m.IsString() && strings.HasSuffix(m.StringValue(), "_WITH_EXCLUSION") {
		inputs["imageTagMutability"] = resource.NewProperty("MUTABLE")
	}
	return inputs, nil
}

func isMapped(typeName string) bool {
	return resourceNames[typeName] != "" || dataSourceNames[typeName] != ""
}

func resources() map[string]*tfbridge.ResourceInfo {
	infos := map[string]*tfbridge.ResourceInfo{}
	for typeName, name := range resourceNames {
		infos[typeName] = &tfbridge.ResourceInfo{
			Tok: tokens.Type(token(name)), Fields: fields[typeName], PreCheckCallback: rewrites[typeName],
		}
	}
	return infos
}

func dataSources() map[string]*tfbridge.DataSourceInfo {
	infos := map[string]*tfbridge.DataSourceInfo{}
	for typeName, name := range dataSourceNames {
		infos[typeName] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember(token(name)), Fields: resultFields[typeName]}
	}
	return infos
}

// token spells a module and name as the engine does: ec2/Vpc becomes aws:ec2/vpc:Vpc.
func token(name string) string {
	module, member, _ := strings.Cut(name, "/")
	first := []rune(member)
	first[0] = unicode.ToLower(first[0])
	return "aws:" + module + "/" + string(first) + ":" + member
}
