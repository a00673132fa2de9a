package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// contextDigest hashes what a build can see: the Dockerfile, wherever it is, and the names, modes and contents of the
// build context, less what .dockerignore leaves out.
func contextDigest(directory, dockerfile string) (string, error) {
	ignored, err := ignoredIn(directory)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if err := addFile(sum, dockerfile); err != nil {
		return "", err
	}
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(directory, path)
		if err != nil || relative == "." {
			return err
		}
		if skip, err := ignored.MatchesOrParentMatches(filepath.ToSlash(relative)); skip || err != nil {
			if skip && entry.IsDir() && !ignored.Exclusions() {
				return filepath.SkipDir
			}
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "\x00%s\x00%s\x00", relative, info.Mode())
		switch {
		case info.Mode().IsRegular():
			return addFile(sum, path)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprint(sum, target)
			return err
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

func addFile(sum io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(sum, file)
	return err
}

func ignoredIn(directory string) (*patternmatcher.PatternMatcher, error) {
	file, err := os.Open(filepath.Join(directory, ".dockerignore"))
	if errors.Is(err, fs.ErrNotExist) {
		return patternmatcher.New(nil)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return nil, err
	}
	return patternmatcher.New(patterns)
}
