package main

import (
	"errors"
	"path/filepath"
)

var nginx = server{
	name:      "nginx",
	usesToken: true,
	version:   []string{"nginx", "-v"},
	configure: configureNginx,
}

type nginxSetup struct {
	setup
	Engine      string
	Environment []string // names that the workers keep
}

func configureNginx(s setup) (command, error) {
	engine, err := filepath.Glob("/usr/lib/*/engines-3/pkcs11.so")
	if err != nil || len(engine) == 0 {
		return command{}, errors.New("OpenSSL's engine pkcs11 is not installed (Debian: apt-get install libengine-pkcs11-openssl)")
	}
	n := nginxSetup{setup: s, Engine: engine[0]}
	for name := range s.Variables {
		n.Environment = append(n.Environment, name)
	}
	config, openssl := filepath.Join(s.Dir, "nginx.conf"), filepath.Join(s.Dir, "openssl.cnf")
	if err := writeTemplate("nginx.conf", config, n); err != nil {
		return command{}, err
	}
	if err := writeTemplate("openssl.cnf", openssl, n); err != nil {
		return command{}, err
	}
	return command{
		args:        []string{"nginx", "-p", s.Dir, "-e", filepath.Join(s.Dir, "error.log"), "-c", config},
		environment: append(s.environment(), "OPENSSL_CONF="+openssl),
	}, nil
}
