// Command pulumi-language-python stands in for Pulumi's Python language host where the Pulumi installer can't be
// reached: it tells the engine which plugins a program needs, and runs the program in the project's own environment.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

//go:embed run_program.py
var runProgram string

//go:embed list_packages.py
var listPackages string

// version is what the engine is told; the build sets it to the version of the pulumi package.
var version = "0.0.0"

// errorShown is the exit status by which run_program.py says that the engine already has the error.
const errorShown = 32

func main() {
	flag.String("tracing", "", "accepted for the engine's sake; ignored")
	flag.Parse()
	host := &languageHost{engine: flag.Arg(0)}
	stop := make(chan bool)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	go func() {
		<-ctx.Done()
		close(stop)
	}()
	if host.engine != "" {
		if err := rpcutil.Healthcheck(ctx, host.engine, 5*time.Minute, cancel); err != nil {
			cmdutil.Exit(err)
		}
	}
	server, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: stop,
		Init: func(s *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(s, host)
			return nil
		},
	})
	if err != nil {
		cmdutil.Exit(err)
	}
	fmt.Println(server.Port)
	if err := <-server.Done; err != nil {
		cmdutil.Exit(err)
	}
}

type languageHost struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine string
}

func (h *languageHost) Handshake(
	_ context.Context, request *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = request.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *languageHost) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

func (h *languageHost) GetRequiredPackages(
	ctx context.Context, request *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return nil, err
	}
	command, err := tools.Command(ctx, "-c", listPackages)
	if err != nil {
		return nil, err
	}
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("list the program's Pulumi packages: %w", err)
	}
	var found []struct{ Name, Version, Server string }
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("list the program's Pulumi packages: %w", err)
	}
	response := &pulumirpc.GetRequiredPackagesResponse{}
	for _, p := range found {
		response.Packages = append(response.Packages, &pulumirpc.PackageDependency{
			Kind: "resource", Name: p.Name, Version: p.Version, Server: p.Server,
		})
	}
	return response, nil
}

func (h *languageHost) GetRequiredPlugins(
	context.Context, *pulumirpc.GetRequiredPluginsRequest,
) (*pulumirpc.GetRequiredPluginsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "use GetRequiredPackages")
}

// InstallDependencies serves pulumi install.
func (h *languageHost) InstallDependencies(
	request *pulumirpc.InstallDependenciesRequest, stream pulumirpc.LanguageRuntime_InstallDependenciesServer,
) error {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return err
	}
	streams, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(stream, request.IsTerminal)
	if err != nil {
		return err
	}
	defer streams.Close()
	err = tools.InstallDependencies(stream.Context(), request.Info.ProgramDirectory,
		request.UseLanguageVersionTools, true, stdout, stderr)
	return errors.Join(err, streams.Close())
}

func (h *languageHost) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return nil, err
	}
	if err := tools.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	config, err := json.Marshal(notNil(request.Config))
	if err != nil {
		return nil, err
	}
	secretKeys, err := json.Marshal(append([]string{}, request.ConfigSecretKeys...))
	if err != nil {
		return nil, err
	}
	settings, err := json.Marshal(map[string]any{
		"monitor": request.MonitorAddress, "engine": h.engine, "project": request.Project, "stack": request.Stack,
		"parallel": request.Parallel, "dry_run": request.DryRun, "organization": request.Organization,
		"root_directory": request.Info.RootDirectory,
	})
	if err != nil {
		return nil, err
	}
	args := append([]string{"-u", "-c", runProgram, string(settings), request.Info.EntryPoint}, request.Args...)
	command, err := tools.Command(ctx, args...)
	if err != nil {
		return nil, err
	}
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env,
		"PULUMI_CONFIG="+string(config), "PULUMI_CONFIG_SECRET_KEYS="+string(secretKeys))
	command.Dir = request.Pwd
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return outcome(command.Run()), nil
}

// RunPlugin runs a policy pack, or another plugin written in Python, until the engine is done with it.
func (h *languageHost) RunPlugin(
	request *pulumirpc.RunPluginRequest, stream pulumirpc.LanguageRuntime_RunPluginServer,
) error {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return err
	}
	args := append([]string{"-u", request.Info.ProgramDirectory}, request.Args...)
	directory := request.Pwd
	if request.Kind == "analyzer" {
		args = append(append([]string{"-u", "-m", "pulumi.policy"}, request.Args...), request.Info.ProgramDirectory)
		directory = request.Info.ProgramDirectory
	}
	command, err := tools.Command(stream.Context(), args...)
	if err != nil {
		return err
	}
	streams, stdout, stderr, err := rpcutil.MakeRunPluginStreams(stream, false)
	if err != nil {
		return err
	}
	defer streams.Close()
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, request.Env...)
	command.Dir, command.Stdout, command.Stderr = directory, stdout, stderr
	status := 0
	var exit *exec.ExitError
	if err := command.Run(); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		return err
	}
	return errors.Join(streams.Close(), stream.Send(&pulumirpc.RunPluginResponse{
		Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(status)}, //nolint:gosec // an exit status
	}))
}

func (h *languageHost) About(
	ctx context.Context, request *pulumirpc.AboutRequest,
) (*pulumirpc.AboutResponse, error) {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return nil, err
	}
	// The engine asks before every update: without site-packages Python answers in a tenth of the time.
	command, err := tools.Command(ctx, "-I", "-S", "-c", "import sys; print(sys.executable, sys.version.split()[0], sep='\\n')")
	if err != nil {
		return nil, err
	}
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("ask Python for its version: %w", err)
	}
	executable, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return &pulumirpc.AboutResponse{Executable: executable, Version: version}, nil
}

func (h *languageHost) GetProgramDependencies(
	ctx context.Context, request *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	tools, err := toolchainOf(request.Info)
	if err != nil {
		return nil, err
	}
	packages, err := tools.ListPackages(ctx, request.TransitiveDependencies)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetProgramDependenciesResponse{}
	for _, p := range packages {
		response.Dependencies = append(response.Dependencies,
			&pulumirpc.DependencyInfo{Name: p.Name, Version: p.Version})
	}
	return response, nil
}

func (h *languageHost) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// notNil is for Python, which can't iterate over JSON's null.
func notNil(config map[string]string) map[string]string {
	if config == nil {
		return map[string]string{}
	}
	return config
}

// outcome tells the engine how the program ended.
func outcome(err error) *pulumirpc.RunResponse {
	if err == nil {
		return &pulumirpc.RunResponse{}
	}
	if exit, ok := err.(*exec.ExitError); ok {
		if exit.ExitCode() == errorShown {
			return &pulumirpc.RunResponse{Bail: true}
		}
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("Program exited with non-zero exit code: %d", exit.ExitCode())}
	}
	return &pulumirpc.RunResponse{Error: "could not run Python: " + err.Error()}
}

// toolchainOf reads the runtime options of Pulumi.yaml: virtualenv, and toolchain pip, poetry or uv.
func toolchainOf(info *pulumirpc.ProgramInfo) (toolchain.Toolchain, error) {
	options := toolchain.PythonOptions{Root: info.RootDirectory, ProgramDir: info.ProgramDirectory}
	given := info.Options.AsMap()
	options.Virtualenv, _ = given["virtualenv"].(string)
	name, _ := given["toolchain"].(string)
	switch strings.ToLower(name) {
	case "", "pip":
		options.Toolchain = toolchain.Pip
	case "poetry":
		options.Toolchain = toolchain.Poetry
	case "uv":
		options.Toolchain = toolchain.Uv
	default:
		return nil, fmt.Errorf("Pulumi.yaml: unknown toolchain %q, want pip, poetry or uv", name)
	}
	return toolchain.ResolveToolchain(options)
}
