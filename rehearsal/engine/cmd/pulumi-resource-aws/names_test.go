package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
)

// TestDumpNames writes the property names that the bridge gives every mapped resource to $DUMP_NAMES, for comparing
// them with those of the pulumi_aws package.
func TestDumpNames(t *testing.T) {
	out := os.Getenv("DUMP_NAMES")
	if out == "" {
		t.Skip("DUMP_NAMES is not set to a file")
	}
	path, err := findProvider()
	if err != nil {
		t.Fatal(err)
	}
	terraform, stop := startTerraformProvider(path, schemaCache(filepath.Join(t.TempDir(), "schema")), isMapped)
	defer stop()
	info := providerInfo(context.Background(), terraform)
	all := map[string]any{}
	for typeName, resource := range info.Resources {
		schema, exists := info.P.ResourcesMap().GetOk(typeName)
		if !exists {
			t.Errorf("%s: the provider has no such resource", typeName)
			continue
		}
		all[string(resource.Tok)] = names(schema.Schema(), resource.Fields)
	}
	for typeName, source := range info.DataSources {
		schema, exists := info.P.DataSourcesMap().GetOk(typeName)
		if !exists {
			t.Errorf("%s: the provider has no such data source", typeName)
			continue
		}
		all[string(source.Tok)] = names(schema.Schema(), source.Fields)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func names(schema shim.SchemaMap, fields map[string]*tfbridge.SchemaInfo) map[string]any {
	found := map[string]any{}
	schema.Range(func(key string, property shim.Schema) bool {
		field := fields[key]
		entry := map[string]any{"tf": key, "list": isList(property, field), "input": property.Optional() || property.Required()}
		if nested, ok := property.Elem().(shim.Resource); ok {
			var below map[string]*tfbridge.SchemaInfo
			if field != nil && field.Elem != nil {
				below = field.Elem.Fields
			}
			entry["nested"] = names(nested.Schema(), below)
		}
		found[tfbridge.TerraformToPulumiNameV2(key, schema, fields)] = entry
		return true
	})
	return found
}

func isList(property shim.Schema, field *tfbridge.SchemaInfo) bool {
	if property.Type() != shim.TypeList && property.Type() != shim.TypeSet {
		return false
	}
	return !tfbridge.IsMaxItemsOne(property, field)
}
