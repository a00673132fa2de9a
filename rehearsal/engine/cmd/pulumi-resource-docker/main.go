// Command pulumi-resource-docker stands in for Pulumi's Docker plugin where that plugin can't be downloaded. It serves
// docker.Image only: it builds with the docker command, pushes, and reports the pushed digest.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/pkg/v3/resource/provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const imageType = "docker:index/image:Image"

// version is what the engine is told; the build sets it to the version of the pulumi_docker package.
var version = "0.0.0"

func main() {
	err := provider.Main("docker", func(host *provider.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return &dockerProvider{host: host}, nil
	})
	if err != nil {
		cmdutil.Exit(err)
	}
}

type dockerProvider struct {
	pulumirpc.UnimplementedResourceProviderServer
	host *provider.HostClient
}

// image is what a program asks of docker.Image.
type image struct {
	name, dockerfile, context, target, platform string
	args                                        map[string]string
	server, username, password                  string
	skipPush                                    bool
}

func (*dockerProvider) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

func (*dockerProvider) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (*dockerProvider) CheckConfig(
	_ context.Context, request *pulumirpc.CheckRequest,
) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: request.News}, nil
}

func (*dockerProvider) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
}

func (*dockerProvider) Configure(
	context.Context, *pulumirpc.ConfigureRequest,
) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true}, nil
}

func (*dockerProvider) Check(
	_ context.Context, request *pulumirpc.CheckRequest,
) (*pulumirpc.CheckResponse, error) {
	if kind := resource.URN(request.Urn).Type(); kind != imageType {
		return nil, fmt.Errorf("%s is not served by this stand-in, only %s", kind, imageType)
	}
	inputs, err := unmarshal(request.News)
	if err != nil {
		return nil, err
	}
	if inputs["build"].IsObject() && !inputs["build"].ContainsUnknowns() {
		build := inputs["build"].ObjectValue()
		if text(build, "context") == "" {
			build["context"] = resource.NewProperty(".")
		}
		if text(build, "dockerfile") == "" {
			build["dockerfile"] = resource.NewProperty(filepath.Join(text(build, "context"), "Dockerfile"))
		}
		if text(build, "platform") == "" {
			build["platform"] = resource.NewProperty("linux/" + runtime.GOARCH)
		}
		if _, err := os.Stat(text(build, "dockerfile")); err != nil {
			return nil, fmt.Errorf("could not open dockerfile at path %s: %w", text(build, "dockerfile"), err)
		}
		digest, err := contextDigest(text(build, "context"), text(build, "dockerfile"))
		if err != nil {
			return nil, err
		}
		build["contextDigest"] = resource.NewProperty(digest)
	}
	wired, err := marshal(inputs)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CheckResponse{Inputs: wired}, nil
}

func (*dockerProvider) Diff(_ context.Context, request *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	olds, err := unmarshal(request.OldInputs)
	if err != nil {
		return nil, err
	}
	news, err := unmarshal(request.News)
	if err != nil {
		return nil, err
	}
	delete(olds, "registry")
	delete(news, "registry")
	difference := olds.Diff(news)
	if difference == nil {
		return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
	}
	response := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_SOME}
	for _, key := range difference.ChangedKeys() {
		response.Diffs = append(response.Diffs, string(key))
	}
	return response, nil
}

func (p *dockerProvider) Create(
	ctx context.Context, request *pulumirpc.CreateRequest,
) (*pulumirpc.CreateResponse, error) {
	id, outputs, err := p.apply(ctx, resource.URN(request.Urn), request.Properties, request.Preview)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: outputs}, nil
}

func (p *dockerProvider) Update(
	ctx context.Context, request *pulumirpc.UpdateRequest,
) (*pulumirpc.UpdateResponse, error) {
	_, outputs, err := p.apply(ctx, resource.URN(request.Urn), request.News, request.Preview)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.UpdateResponse{Properties: outputs}, nil
}

func (*dockerProvider) Read(_ context.Context, request *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	return &pulumirpc.ReadResponse{Id: request.Id, Properties: request.Properties, Inputs: request.Inputs}, nil
}

func (*dockerProvider) Delete(context.Context, *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil // as Pulumi's plugin: what was pushed stays in the registry
}

func (*dockerProvider) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// apply builds and pushes, and returns the resource's ID and outputs. A preview leaves the digest unknown, unless it was
// asked to build: then the digest is, as in Pulumi's plugin, the ID of an image that is not pushed.
func (p *dockerProvider) apply(
	ctx context.Context, urn resource.URN, wired *structpb.Struct, preview bool,
) (string, *structpb.Struct, error) {
	inputs, err := unmarshal(wired)
	if err != nil {
		return "", nil, err
	}
	wanted := imageOf(inputs)
	outputs := inputs.Copy()
	outputs["baseImageName"] = inputs["imageName"]
	outputs["registryServer"] = resource.NewProperty(wanted.server)
	outputs["dockerfile"] = resource.NewProperty(wanted.dockerfile)
	outputs["context"] = resource.NewProperty(wanted.context)
	outputs["platform"] = resource.NewProperty(wanted.platform)
	outputs["repoDigest"] = resource.MakeComputed(resource.NewProperty(""))
	if preview {
		if !isTrue(inputs["buildOnPreview"]) || inputs.ContainsUnknowns() {
			built, err := marshal(outputs)
			return "", built, err
		}
		wanted.skipPush = true
	}
	digest, err := wanted.buildAndPush(ctx, func(line string) {
		_ = p.host.LogStatus(ctx, diag.Info, urn, line) // progress that can't be shown is no reason to fail
	})
	if err != nil {
		return "", nil, err
	}
	outputs["repoDigest"] = resource.NewProperty(digest)
	built, err := marshal(outputs)
	return wanted.name, built, err
}

// buildAndPush returns the repository and digest under which the image was pushed, or its ID where it was not.
func (i image) buildAndPush(ctx context.Context, progress func(string)) (string, error) {
	directory, err := configWith(i.server, i.username, i.password)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(directory)
	docker := command{config: directory, progress: progress}
	args := []string{"build", "--tag", i.name, "--file", i.dockerfile}
	for _, key := range slices.Sorted(maps.Keys(i.args)) {
		args = append(args, "--build-arg", key+"="+i.args[key])
	}
	if i.target != "" {
		args = append(args, "--target", i.target)
	}
	if i.platform != "" {
		args = append(args, "--platform", i.platform)
	}
	if err := docker.run(ctx, append(args, i.context)...); err != nil {
		return "", err
	}
	if i.skipPush {
		return docker.output(ctx, "image", "inspect", "--format", "{{.Id}}", i.name)
	}
	if err := docker.run(ctx, "push", i.name); err != nil {
		return "", err
	}
	digests, err := docker.output(ctx, "image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", i.name)
	if err != nil {
		return "", err
	}
	repository := i.name
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository = repository[:colon]
	}
	for digest := range strings.SplitSeq(digests, "\n") {
		if strings.HasPrefix(digest, repository+"@") {
			return digest, nil
		}
	}
	return "", fmt.Errorf("docker reports no digest for %s after the push", i.name)
}

func imageOf(inputs resource.PropertyMap) image {
	build, registry := object(inputs, "build"), object(inputs, "registry")
	i := image{
		name: text(inputs, "imageName"), dockerfile: text(build, "dockerfile"), context: text(build, "context"),
		target: text(build, "target"), platform: text(build, "platform"), args: map[string]string{},
		server: text(registry, "server"), username: text(registry, "username"), password: text(registry, "password"),
		skipPush: isTrue(inputs["skipPush"]),
	}
	for key := range object(build, "args") {
		i.args[string(key)] = text(object(build, "args"), key)
	}
	return i
}

func object(properties resource.PropertyMap, key resource.PropertyKey) resource.PropertyMap {
	if v := plain(properties[key]); v.IsObject() {
		return v.ObjectValue()
	}
	return resource.PropertyMap{}
}

func text(properties resource.PropertyMap, key resource.PropertyKey) string {
	if v := plain(properties[key]); v.IsString() {
		return v.StringValue()
	}
	return ""
}

func isTrue(v resource.PropertyValue) bool {
	return plain(v).IsBool() && plain(v).BoolValue()
}

func plain(v resource.PropertyValue) resource.PropertyValue {
	for v.IsSecret() {
		v = v.SecretValue().Element
	}
	return v
}

func unmarshal(wired *structpb.Struct) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(wired, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
}

func marshal(properties resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(properties, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
}
