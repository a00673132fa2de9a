// Command pulumi-resource-aws stands in for Pulumi's AWS plugin where that plugin can't be downloaded: it bridges the
// real Terraform AWS provider, found at $TERRAFORM_PROVIDER_AWS, with Pulumi's own bridge.
//
// It covers the resource types and functions of tokens.go, under the names that the pulumi_aws package gives them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/proto"
	pf "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

// version is what the engine is told; the build sets it to the version of the pulumi_aws package.
var version = "0.0.0"

func main() {
	ctx := context.Background()
	path, err := findProvider()
	if err != nil {
		fail(err)
	}
	schemas, err := schemaCacheOf(path)
	if err != nil {
		fail(err)
	}
	terraform, stop := startTerraformProvider(path, schemas, isMapped)
	defer stop()
	pf.Main(ctx, "aws", providerInfo(ctx, terraform), pf.ProviderMetadata{PackageSchema: []byte("{}")})
}

func providerInfo(ctx context.Context, terraform *terraformProvider) tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:              proto.New(ctx, terraform),
		Name:           "aws",
		ResourcePrefix: "aws",
		Version:        version,
		MetadataInfo:   &tfbridge.MetadataInfo{Path: "", Data: tfbridge.ProviderMetadata(nil)},
		Config:         settings,
		Resources:      resources(),
		DataSources:    dataSources(),
	}
	info.SetAutonaming(255, "-")
	return info
}

func findProvider() (string, error) {
	path := os.Getenv("TERRAFORM_PROVIDER_AWS")
	if path == "" {
		return "", errors.New("TERRAFORM_PROVIDER_AWS is not set to the file of the Terraform AWS provider")
	}
	return path, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pulumi-resource-aws:", err)
	os.Exit(1)
}
