// A key service for sops (https://getsops.io/docs/#key-service) on a machine with a NitroTPM: it asks KMS for a data key
// with the machine's attestation document, so that KMS may look at what the machine booted.
//
//	key-service -socket PATH [-ca FILE]... -- COMMAND [ARGUMENT]...
//
// It listens at PATH as long as COMMAND runs, and ends with its exit status. It decrypts with KMS and does nothing else:
// no other kind of key, no encryption, no role but the machine's own, no endpoint but KMS's in the region of the key.
// What it answers with is in memory only, in an RSA key that is made anew for each run and in the data key, which sops
// gets. Its errors go to sops alone, in the form of the AWS SDK's; they have KMS's words in them and no secret.
//
// Only Go's standard library is used: see docs/decisions/0048.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// decryptTime is how long one Decrypt may take: open-secrets gives sops a minute.
const decryptTime = 45 * time.Second

// rsaBits is the least that KMS takes (KMS API reference, RecipientInfo), and the fastest.
const rsaBits = 2048

type files []string

func (f *files) String() string { return strings.Join(*f, ",") }

func (f *files) Set(path string) error {
	*f = append(*f, path)
	return nil
}

// The kernel ends the command when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG): that must be the one that
// lasts as long as we do.
func init() { runtime.LockOSThread() }

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleetswap-secrets: key-service:", err)
	}
	os.Exit(status)
}

func run(arguments []string) (int, error) {
	flags := flag.NewFlagSet("key-service", flag.ContinueOnError)
	socket := flags.String("socket", "", "Unix socket to listen at")
	device := flags.String("tpm", "/dev/tpm0", "device of the TPM, or a Unix socket that takes its commands")
	metadata := flags.String("metadata", "http://169.254.169.254", "URL of the instance metadata service")
	endpoint := flags.String("endpoint", "", "URL of KMS, instead of that of the key's region")
	var authorities files
	flags.Var(&authorities, "ca", "certificate authorities that KMS may be believed by, PEM, if the file is there; "+
		"without any, the system's (may be repeated)")
	if err := flags.Parse(arguments); err != nil {
		return 2, nil // flag has said it
	}
	if *socket == "" || flags.NArg() == 0 {
		return 2, errors.New("-socket PATH and a command are needed")
	}
	roots, err := pool(authorities)
	if err != nil {
		return 1, err
	}
	client := httpClient(roots)
	service := &decrypter{
		device:   *device,
		metadata: metadataService{url: *metadata, client: httpClient(nil)},
		kms:      keyManagement{endpoint: *endpoint, client: client},
		key:      sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }),
	}
	go service.key() //nolint:errcheck // made while the command starts; whoever needs it sees the error

	if err := os.Remove(*socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 1, err
	}
	old := syscall.Umask(0o177) // the socket is for our own user
	listener, err := net.Listen("unix", *socket)
	syscall.Umask(old)
	if err != nil {
		return 1, err
	}
	defer listener.Close() // removes the socket
	server := &http.Server{Handler: handler(service.decrypt), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener) //nolint:errcheck // it ends when the listener is closed
	defer server.Close()
	return command(flags.Args())
}

// command runs a command with our input and output, and passes signals on; its exit status.
func command(arguments []string) (int, error) {
	child := exec.Command(arguments[0], arguments[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := child.Start(); err != nil {
		return 127, err
	}
	go func() {
		for one := range signals {
			child.Process.Signal(one) //nolint:errcheck // it may have ended
		}
	}()
	var ended *exec.ExitError
	if err := child.Wait(); errors.As(err, &ended) {
		if status := ended.ExitCode(); status >= 0 {
			return status, nil
		}
		return 128 + int(ended.Sys().(syscall.WaitStatus).Signal()), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}

// pool is the authorities in the files that are there; nil, which stands for the system's, if there is none.
func pool(paths []string) (*x509.CertPool, error) {
	var roots *x509.CertPool
	for _, path := range paths {
		pem, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if roots == nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(pem)
	}
	return roots, nil
}

// decrypter is the whole: what sops asks, KMS is asked with a document of this machine's TPM.
type decrypter struct {
	device   string
	metadata metadataService
	kms      keyManagement
	key      func() (*rsa.PrivateKey, error)
}

func (d *decrypter) decrypt(ctx context.Context, asked decryptRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, decryptTime)
	defer cancel()
	if asked.role != "" {
		return nil, errors.New("the sealed file names a role to assume: an attested machine asks KMS with its own alone")
	}
	if asked.profile != "" {
		return nil, errors.New("failed to get shared config profile, " + asked.profile)
	}
	who, err := d.metadata.credentials(ctx)
	if err != nil {
		return nil, err
	}
	key, err := d.key()
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	document, err := attestationDocument(d.device, public)
	if err != nil {
		return nil, fmt.Errorf("this machine cannot attest itself: %w", err)
	}
	message, err := d.kms.decrypt(ctx, who, asked, document)
	if err != nil {
		return nil, err
	}
	plain, err := openEnvelope(message, key)
	if err != nil {
		return nil, fmt.Errorf("the answer of KMS cannot be read: %w", err)
	}
	return plain, nil
}
