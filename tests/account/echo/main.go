// Echo is the container of the account's tests that look from inside: it answers with the request that it got and its
// environment, or with what it was asked to fetch (X-Fetch: ADDRESS:PORT/PATH).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func fetch(url string) string {
	address, path, _ := strings.Cut(url, "/")
	connection, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	fmt.Fprintf(connection, "GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n", path, address)
	answer, _ := io.ReadAll(connection)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body
}

func answer(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	first, err := reader.ReadString('\n')
	headers := map[string]string{}
	for err == nil {
		var line string
		line, err = reader.ReadString('\n')
		name, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found {
			break
		}
		headers[strings.ToLower(name)] = value
	}
	if err != nil {
		return
	}
	environment := map[string]string{}
	for _, each := range os.Environ() {
		name, value, _ := strings.Cut(each, "=")
		environment[name] = value
	}
	answered := map[string]any{"request": strings.TrimSpace(first), "headers": headers, "environment": environment}
	if url := headers["x-fetch"]; url != "" {
		answered["fetched"] = fetch(url)
	}
	if strings.Contains(first, "/slow") {
		time.Sleep(800 * time.Millisecond)
	}
	body, _ := json.Marshal(answered)
	fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

func main() {
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		panic(err)
	}
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM)
	go func() {
		<-ending
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err == nil {
			go answer(connection)
		}
	}
}
