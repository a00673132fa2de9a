package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	tfplugin "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/vendored/opentofu/plugin"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/vendored/tfplugin5"
	"google.golang.org/grpc"
)

// maxMessage is Terraform's own limit for one message; the AWS provider's schema needs it.
const maxMessage = 256 << 20

// terraformProvider speaks Terraform's plugin protocol 5 to a provider process and offers it as the protocol 6 server
// that the bridge takes. Calls that a Pulumi resource never makes fall through to the nil embedded server.
type terraformProvider struct {
	tfprotov6.ProviderServer
	connect func() (tfplugin5.ProviderClient, error) // waits for the process, which starts while the schema is read
	schemas schemaCache
	keep    func(typeName string) bool
}

// startTerraformProvider launches the provider at path; only the resource types and data sources that keep accepts are
// offered, since the whole AWS schema takes seconds to convert. The process is ended by the returned function.
func startTerraformProvider(path string, schemas schemaCache, keep func(string) bool) (*terraformProvider, func()) {
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  tfplugin.Handshake,
		VersionedPlugins: tfplugin.VersionedPlugins,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              exec.Command(path),
		AutoMTLS:         true,
		Logger:           hclog.NewNullLogger(),
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage))},
	})
	connect := sync.OnceValues(func() (tfplugin5.ProviderClient, error) {
		connection, err := client.Client()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", path, err)
		}
		if v := client.NegotiatedVersion(); v != 5 {
			return nil, fmt.Errorf("start %s: it speaks plugin protocol %d, want 5", path, v)
		}
		return tfplugin5.NewProviderClient(connection.(*plugin.GRPCClient).Conn), nil
	})
	go connect() //nolint:errcheck // whoever needs the connection gets the error
	return &terraformProvider{connect: connect, schemas: schemas, keep: keep}, client.Kill
}

func (p *terraformProvider) GetProviderSchema(
	ctx context.Context, _ *tfprotov6.GetProviderSchemaRequest,
) (*tfprotov6.GetProviderSchemaResponse, error) {
	r, err := p.schemas.load(func() (*tfplugin5.GetProviderSchema_Response, error) { return p.keptSchema(ctx) })
	if err != nil {
		return nil, err
	}
	provider, err := schemaOf(r.Provider)
	if err != nil {
		return nil, err
	}
	resources, err := schemasOf(r.ResourceSchemas)
	if err != nil {
		return nil, err
	}
	dataSources, err := schemasOf(r.DataSourceSchemas)
	if err != nil {
		return nil, err
	}
	return &tfprotov6.GetProviderSchemaResponse{
		Provider: provider, ResourceSchemas: resources, DataSourceSchemas: dataSources,
		Diagnostics: diagnosticsOf(r.Diagnostics),
	}, nil
}

// keptSchema asks the process for its schema, and drops the types that are not offered.
func (p *terraformProvider) keptSchema(ctx context.Context) (*tfplugin5.GetProviderSchema_Response, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.GetSchema(ctx, &tfplugin5.GetProviderSchema_Request{}, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return nil, err
	}
	dropped := func(name string, _ *tfplugin5.Schema) bool { return !p.keep(name) }
	maps.DeleteFunc(r.ResourceSchemas, dropped)
	maps.DeleteFunc(r.DataSourceSchemas, dropped)
	return r, nil
}

func (p *terraformProvider) GetResourceIdentitySchemas(
	context.Context, *tfprotov6.GetResourceIdentitySchemasRequest,
) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{
		IdentitySchemas: map[string]*tfprotov6.ResourceIdentitySchema{},
	}, nil
}

func (p *terraformProvider) ValidateProviderConfig(
	ctx context.Context, q *tfprotov6.ValidateProviderConfigRequest,
) (*tfprotov6.ValidateProviderConfigResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.PrepareProviderConfig(ctx, &tfplugin5.PrepareProviderConfig_Request{Config: wire(q.Config)})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ValidateProviderConfigResponse{
		PreparedConfig: value(r.PreparedConfig), Diagnostics: diagnosticsOf(r.Diagnostics),
	}, nil
}

func (p *terraformProvider) ConfigureProvider(
	ctx context.Context, q *tfprotov6.ConfigureProviderRequest,
) (*tfprotov6.ConfigureProviderResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.Configure(ctx, &tfplugin5.Configure_Request{
		TerraformVersion: q.TerraformVersion, Config: wire(q.Config),
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ConfigureProviderResponse{Diagnostics: diagnosticsOf(r.Diagnostics)}, nil
}

func (p *terraformProvider) StopProvider(
	ctx context.Context, _ *tfprotov6.StopProviderRequest,
) (*tfprotov6.StopProviderResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.Stop(ctx, &tfplugin5.Stop_Request{})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.StopProviderResponse{Error: r.Error}, nil
}

func (p *terraformProvider) ValidateResourceConfig(
	ctx context.Context, q *tfprotov6.ValidateResourceConfigRequest,
) (*tfprotov6.ValidateResourceConfigResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ValidateResourceTypeConfig(ctx, &tfplugin5.ValidateResourceTypeConfig_Request{
		TypeName: q.TypeName, Config: wire(q.Config),
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ValidateResourceConfigResponse{Diagnostics: diagnosticsOf(r.Diagnostics)}, nil
}

func (p *terraformProvider) UpgradeResourceState(
	ctx context.Context, q *tfprotov6.UpgradeResourceStateRequest,
) (*tfprotov6.UpgradeResourceStateResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.UpgradeResourceState(ctx, &tfplugin5.UpgradeResourceState_Request{
		TypeName: q.TypeName, Version: q.Version,
		RawState: &tfplugin5.RawState{Json: q.RawState.JSON, Flatmap: q.RawState.Flatmap},
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.UpgradeResourceStateResponse{
		UpgradedState: value(r.UpgradedState), Diagnostics: diagnosticsOf(r.Diagnostics),
	}, nil
}

func (p *terraformProvider) ReadResource(
	ctx context.Context, q *tfprotov6.ReadResourceRequest,
) (*tfprotov6.ReadResourceResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ReadResource(ctx, &tfplugin5.ReadResource_Request{
		TypeName: q.TypeName, CurrentState: wire(q.CurrentState), Private: q.Private, ProviderMeta: wire(q.ProviderMeta),
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ReadResourceResponse{
		NewState: value(r.NewState), Private: r.Private, Diagnostics: diagnosticsOf(r.Diagnostics),
	}, nil
}

func (p *terraformProvider) PlanResourceChange(
	ctx context.Context, q *tfprotov6.PlanResourceChangeRequest,
) (*tfprotov6.PlanResourceChangeResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.PlanResourceChange(ctx, &tfplugin5.PlanResourceChange_Request{
		TypeName: q.TypeName, PriorState: wire(q.PriorState), ProposedNewState: wire(q.ProposedNewState),
		Config: wire(q.Config), PriorPrivate: q.PriorPrivate, ProviderMeta: wire(q.ProviderMeta),
	})
	if err != nil {
		return nil, err
	}
	replace := make([]*tftypes.AttributePath, len(r.RequiresReplace))
	for i, path := range r.RequiresReplace {
		replace[i] = pathOf(path)
	}
	return &tfprotov6.PlanResourceChangeResponse{
		PlannedState: value(r.PlannedState), RequiresReplace: replace, PlannedPrivate: r.PlannedPrivate,
		Diagnostics: diagnosticsOf(r.Diagnostics), UnsafeToUseLegacyTypeSystem: r.LegacyTypeSystem,
	}, nil
}

func (p *terraformProvider) ApplyResourceChange(
	ctx context.Context, q *tfprotov6.ApplyResourceChangeRequest,
) (*tfprotov6.ApplyResourceChangeResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ApplyResourceChange(ctx, &tfplugin5.ApplyResourceChange_Request{
		TypeName: q.TypeName, PriorState: wire(q.PriorState), PlannedState: wire(q.PlannedState),
		Config: wire(q.Config), PlannedPrivate: q.PlannedPrivate, ProviderMeta: wire(q.ProviderMeta),
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ApplyResourceChangeResponse{
		NewState: value(r.NewState), Private: r.Private, Diagnostics: diagnosticsOf(r.Diagnostics),
		UnsafeToUseLegacyTypeSystem: r.LegacyTypeSystem,
	}, nil
}

func (p *terraformProvider) ImportResourceState(
	ctx context.Context, q *tfprotov6.ImportResourceStateRequest,
) (*tfprotov6.ImportResourceStateResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ImportResourceState(ctx, &tfplugin5.ImportResourceState_Request{TypeName: q.TypeName, Id: q.ID})
	if err != nil {
		return nil, err
	}
	imported := make([]*tfprotov6.ImportedResource, len(r.ImportedResources))
	for i, resource := range r.ImportedResources {
		imported[i] = &tfprotov6.ImportedResource{
			TypeName: resource.TypeName, State: value(resource.State), Private: resource.Private,
		}
	}
	return &tfprotov6.ImportResourceStateResponse{
		ImportedResources: imported, Diagnostics: diagnosticsOf(r.Diagnostics),
	}, nil
}

func (p *terraformProvider) ValidateDataResourceConfig(
	ctx context.Context, q *tfprotov6.ValidateDataResourceConfigRequest,
) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ValidateDataSourceConfig(ctx, &tfplugin5.ValidateDataSourceConfig_Request{
		TypeName: q.TypeName, Config: wire(q.Config),
	})
	if err != nil {
		return nil, err
	}
	return &tfprotov6.ValidateDataResourceConfigResponse{Diagnostics: diagnosticsOf(r.Diagnostics)}, nil
}

func (p *terraformProvider) ReadDataSource(
	ctx context.Context, q *tfprotov6.ReadDataSourceRequest,
) (*tfprotov6.ReadDataSourceResponse, error) {
	remote, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := remote.ReadDataSource(ctx, &tfplugin5.ReadDataSource_Request{
		TypeName: q.TypeName, Config: wire(q.Config), ProviderMeta: wire(q.ProviderMeta),
	})
	if err != nil {
		return nil, err
	}
	// As an error, and not as a diagnostic, which the bridge would print besides: whoever asked says what is missing.
	for _, d := range r.Diagnostics {
		if d.Severity == tfplugin5.Diagnostic_ERROR {
			return nil, errors.New(strings.TrimSpace(strings.TrimSuffix(d.Summary+": "+d.Detail, ": ")))
		}
	}
	return &tfprotov6.ReadDataSourceResponse{State: value(r.State), Diagnostics: diagnosticsOf(r.Diagnostics)}, nil
}

func schemasOf(all map[string]*tfplugin5.Schema) (map[string]*tfprotov6.Schema, error) {
	schemas := map[string]*tfprotov6.Schema{}
	for name, schema := range all {
		converted, err := schemaOf(schema)
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", name, err)
		}
		schemas[name] = converted
	}
	return schemas, nil
}

func schemaOf(schema *tfplugin5.Schema) (*tfprotov6.Schema, error) {
	block, err := blockOf(schema.GetBlock())
	if err != nil {
		return nil, err
	}
	return &tfprotov6.Schema{Version: schema.GetVersion(), Block: block}, nil
}

func blockOf(block *tfplugin5.Schema_Block) (*tfprotov6.SchemaBlock, error) {
	converted := &tfprotov6.SchemaBlock{Version: block.GetVersion(), Deprecated: block.GetDeprecated()}
	for _, a := range block.GetAttributes() {
		attributeType, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck // the wire format has no other reader
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", a.Name, err)
		}
		converted.Attributes = append(converted.Attributes, &tfprotov6.SchemaAttribute{
			Name: a.Name, Type: attributeType, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
			Sensitive: a.Sensitive, Deprecated: a.Deprecated, WriteOnly: a.WriteOnly,
		})
	}
	for _, n := range block.GetBlockTypes() {
		nested, err := blockOf(n.Block)
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", n.TypeName, err)
		}
		converted.BlockTypes = append(converted.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: n.TypeName, Block: nested, MinItems: n.MinItems, MaxItems: n.MaxItems,
			Nesting: tfprotov6.SchemaNestedBlockNestingMode(n.Nesting),
		})
	}
	return converted, nil
}

func diagnosticsOf(wired []*tfplugin5.Diagnostic) []*tfprotov6.Diagnostic {
	diagnostics := make([]*tfprotov6.Diagnostic, len(wired))
	for i, d := range wired {
		diagnostics[i] = &tfprotov6.Diagnostic{
			Severity: tfprotov6.DiagnosticSeverity(d.Severity), Summary: d.Summary, Detail: d.Detail,
			Attribute: pathOf(d.Attribute),
		}
	}
	return diagnostics
}

func pathOf(wired *tfplugin5.AttributePath) *tftypes.AttributePath {
	path := tftypes.NewAttributePath()
	for _, step := range wired.GetSteps() {
		switch s := step.Selector.(type) {
		case *tfplugin5.AttributePath_Step_AttributeName:
			path = path.WithAttributeName(s.AttributeName)
		case *tfplugin5.AttributePath_Step_ElementKeyString:
			path = path.WithElementKeyString(s.ElementKeyString)
		case *tfplugin5.AttributePath_Step_ElementKeyInt:
			path = path.WithElementKeyInt(int(s.ElementKeyInt))
		}
	}
	return path
}

func wire(v *tfprotov6.DynamicValue) *tfplugin5.DynamicValue {
	if v == nil {
		return nil
	}
	return &tfplugin5.DynamicValue{Msgpack: v.MsgPack, Json: v.JSON}
}

func value(wired *tfplugin5.DynamicValue) *tfprotov6.DynamicValue {
	if wired == nil {
		return nil
	}
	return &tfprotov6.DynamicValue{MsgPack: wired.Msgpack, JSON: wired.Json}
}
