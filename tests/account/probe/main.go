// Probe is the container of the account's tests: an HTTP server that can be asked to misbehave.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	sick     atomic.Bool
	inFlight sync.WaitGroup
)

func answer(connection net.Conn) {
	defer inFlight.Done()
	defer connection.Close()
	reader := bufio.NewReader(connection)
	request, err := reader.ReadString('\n')
	if err != nil {
		return
	}
	for line := request; err == nil && strings.TrimSpace(line) != ""; {
		line, err = reader.ReadString('\n')
	}
	status, body := "200 OK", os.Getenv("VERSION")
	switch strings.Fields(request + " - -")[1] {
	case "/sicken":
		sick.Store(true)
	case "/eat":
		var eaten [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			eaten = append(eaten, block)
		}
	case "/slow":
		time.Sleep(2 * time.Second)
	case "/health":
		if sick.Load() || os.Getenv("SICK") != "" {
			status = "500 Internal Server Error"
		}
	}
	fmt.Fprintf(connection, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "check" {
		if os.Getenv("SICK") != "" {
			os.Exit(1)
		}
		return
	}
	fmt.Println("version", os.Getenv("VERSION"), "starts")
	if code := os.Getenv("EXIT"); code != "" {
		number, _ := strconv.Atoi(code)
		fmt.Println("gives up")
		os.Exit(number)
	}
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		panic(err)
	}
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM)
	go func() {
		for range ending {
			fmt.Println("told to stop")
			if os.Getenv("STUBBORN") == "" {
				listener.Close()
			}
		}
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			break
		}
		inFlight.Add(1)
		go answer(connection)
	}
	inFlight.Wait()
	fmt.Println("stopped")
}
