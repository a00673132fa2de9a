package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// lastLines is how much of docker's output an error shows.
const lastLines = 20

// command runs docker with a configuration of its own.
type command struct {
	config   string
	progress func(line string)
}

// run reports what docker prints, line by line as it comes; an error ends with the last of these lines.
func (c command) run(ctx context.Context, args ...string) error {
	docker := c.docker(ctx, args)
	output, err := docker.StdoutPipe()
	if err != nil {
		return err
	}
	docker.Stderr = docker.Stdout
	if err := docker.Start(); err != nil {
		return err
	}
	var last []string
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "--->") {
			c.progress(line)
			last = append(last[max(0, len(last)-lastLines+1):], line)
		}
	}
	if err := errors.Join(lines.Err(), docker.Wait()); err != nil {
		return fmt.Errorf("docker %s failed: %w\n%s", args[0], err, strings.Join(last, "\n"))
	}
	return nil
}

func (c command) output(ctx context.Context, args ...string) (string, error) {
	out, err := c.docker(ctx, args).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("docker %s failed: %w\n%s", args[0], err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func (c command) docker(ctx context.Context, args []string) *exec.Cmd {
	docker := exec.CommandContext(ctx, "docker", append([]string{"--config", c.config}, args...)...)
	docker.Env = append(os.Environ(), "BUILDKIT_PROGRESS=plain")
	return docker
}

// configWith makes a copy of the user's Docker configuration that also knows a registry's password: `docker login`
// would leave the password in the user's own.
func configWith(server, username, password string) (string, error) {
	directory, err := os.MkdirTemp("", "pulumi-docker-")
	if err != nil {
		return "", err
	}
	users := os.Getenv("DOCKER_CONFIG")
	if users == "" {
		users = filepath.Join(os.Getenv("HOME"), ".docker")
	}
	settings := map[string]any{}
	if given, err := os.ReadFile(filepath.Join(users, "config.json")); err == nil {
		if err := json.Unmarshal(given, &settings); err != nil {
			return "", fmt.Errorf("read Docker's config.json: %w", err)
		}
	}
	for _, shared := range []string{"cli-plugins", "contexts"} {
		if err := os.Symlink(filepath.Join(users, shared), filepath.Join(directory, shared)); err != nil {
			return "", err
		}
	}
	if password != "" {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(server, "https://"), "http://"), "/")
		auths, _ := settings["auths"].(map[string]any)
		if auths == nil {
			auths = map[string]any{}
		}
		auths[host] = map[string]any{"auth": base64.StdEncoding.EncodeToString([]byte(username + ":" + password))}
		settings["auths"] = auths
		delete(settings, "credsStore") // it would be asked before auths
	}
	data, err := json.Marshal(settings)
	if err != nil {
		return "", err
	}
	return directory, os.WriteFile(filepath.Join(directory, "config.json"), data, 0o600)
}
