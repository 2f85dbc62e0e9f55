package main

// A TPM 2.0 at its device, command by command (TPM 2.0 Library specification, parts 1 and 3; tpm(4) of Linux).

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	noSessions = 0x8001
	sessions   = 0x8002
	header     = 10
	largest    = 4096 // of an answer: TPM_BUFSIZE of Linux

	rcYielded = 0x908
	rcTesting = 0x90a
	rcRetry   = 0x922

	patience = 5 * time.Second
	pause    = 20 * time.Millisecond
)

var errShort = errors.New("the TPM's answer is too short")

// responseCode is a TPM's refusal.
type responseCode uint32

func (code responseCode) Error() string {
	return fmt.Sprintf("the TPM refuses with response code %#x", uint32(code))
}

type tpm struct {
	device io.ReadWriteCloser
}

// openTPM opens the device. It waits a little for another program that has it: /dev/tpm0 is for one at a time. The
// resource manager, /dev/tpmrm0, would not do: it passes on no command that it does not know.
func openTPM(path string) (*tpm, error) {
	found, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("it has no NitroTPM: its AMI needs TPM support, its instance type a NitroTPM, its kernel tpm_crb")
	}
	if err == nil && found.Mode()&os.ModeSocket != 0 {
		connection, err := net.Dial("unix", path)
		return &tpm{connection}, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		// Not os.Open: it would make the device non-blocking, where a read before the TPM's answer is an end of file.
		descriptor, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err == nil {
			return &tpm{device(descriptor)}, nil
		}
		if !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EINTR) || time.Now().After(deadline) {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func (t *tpm) close() { t.device.Close() }

// authorized sends a command with one entry in its authorization area; the parameters of the answer.
func (t *tpm) authorized(code uint32, handles []uint32, authorization, parameters []byte) ([]byte, error) {
	var body []byte
	for _, handle := range handles {
		body = binary.BigEndian.AppendUint32(body, handle)
	}
	body = binary.BigEndian.AppendUint32(body, uint32(len(authorization)))
	body = append(append(body, authorization...), parameters...)
	answer, err := t.send(code, true, body)
	if err != nil {
		return nil, err
	}
	if len(answer) < 4 || int(binary.BigEndian.Uint32(answer)) > len(answer)-4 {
		return nil, errShort
	}
	return answer[4 : 4+binary.BigEndian.Uint32(answer)], nil
}

// send sends a command until the TPM has time for it; what its answer has after the header.
func (t *tpm) send(code uint32, authorized bool, body []byte) ([]byte, error) {
	tag := uint16(noSessions)
	if authorized {
		tag = sessions
	}
	command := binary.BigEndian.AppendUint16(nil, tag)
	command = binary.BigEndian.AppendUint32(command, uint32(header+len(body)))
	command = append(binary.BigEndian.AppendUint32(command, code), body...)
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		answer, err := t.exchange(command)
		var refused responseCode
		if errors.As(err, &refused) && (refused == rcRetry || refused == rcYielded || refused == rcTesting) && time.Now().Before(deadline) {
			continue
		}
		return answer, err
	}
}

func (t *tpm) exchange(command []byte) ([]byte, error) {
	if _, err := t.device.Write(command); err != nil {
		return nil, err
	}
	answer := make([]byte, largest)
	size := 0
	for size < header || size < int(binary.BigEndian.Uint32(answer[2:])) {
		more, err := t.device.Read(answer[size:])
		if err != nil {
			return nil, err
		}
		if more == 0 {
			return nil, errShort
		}
		size += more
	}
	if code := binary.BigEndian.Uint32(answer[6:]); code != 0 {
		return nil, responseCode(code)
	}
	return answer[header:binary.BigEndian.Uint32(answer[2:])], nil
}

// withPassword is an entry of an authorization area: a password.
func withPassword(password []byte) []byte {
	area := append(binary.BigEndian.AppendUint32(nil, handlePassword), 0, 0, continueSession)
	return append(area, sized(password)...)
}

// sized is a TPM2B: a size of two bytes, and so many bytes.
func sized(data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)
}

// device is a file descriptor that blocks.
type device int

func (d device) Read(buffer []byte) (int, error) {
	return again(func() (int, error) { return syscall.Read(int(d), buffer) })
}

func (d device) Write(data []byte) (int, error) {
	return again(func() (int, error) { return syscall.Write(int(d), data) })
}

func (d device) Close() error { return syscall.Close(int(d)) }

// again repeats what a signal interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		size, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return max(size, 0), err
		}
	}
}
