package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/vendored/tfplugin5"
	"google.golang.org/protobuf/proto"
)

// schemaCache is the file that keeps the schema of the types that tokens.go names. Asking the provider for all its
// schemas, tens of megabytes, took half of this plugin's start.
type schemaCache string

// schemaCacheOf names the cache beside this plugin, by the provider's file and the types that are kept.
func schemaCacheOf(provider string) (schemaCache, error) {
	file, err := os.Stat(provider)
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	key := sha256.New()
	fmt.Fprintln(key, provider, file.Size(), file.ModTime().UnixNano(),
		slices.Sorted(maps.Keys(resourceNames)), slices.Sorted(maps.Keys(dataSourceNames)))
	name := "schema-" + hex.EncodeToString(key.Sum(nil))[:16] + ".pb"
	return schemaCache(filepath.Join(filepath.Dir(self), name)), nil
}

// load reads the schema from the cache, or asks for it and keeps the answer. A cache that can't be written costs time,
// and nothing else.
func (c schemaCache) load(
	ask func() (*tfplugin5.GetProviderSchema_Response, error),
) (*tfplugin5.GetProviderSchema_Response, error) {
	kept := &tfplugin5.GetProviderSchema_Response{}
	if data, err := os.ReadFile(string(c)); err == nil && proto.Unmarshal(data, kept) == nil {
		return kept, nil
	}
	asked, err := ask()
	if err != nil {
		return nil, err
	}
	if data, err := proto.Marshal(asked); err == nil {
		c.write(data)
	}
	return asked, nil
}

// write renames a finished file into place: several plugins may start at once.
func (c schemaCache) write(data []byte) {
	file, err := os.CreateTemp(filepath.Dir(string(c)), ".schema-*")
	if err != nil {
		return
	}
	_, writeErr := file.Write(data)
	if closeErr := file.Close(); writeErr != nil || closeErr != nil || os.Rename(file.Name(), string(c)) != nil {
		os.Remove(file.Name())
	}
}
