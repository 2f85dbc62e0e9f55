package main

// The server side of sops' key service: gRPC with unary calls over HTTP/2 without TLS
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), and the messages of sops' keyservice.proto.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Status codes of gRPC (https://grpc.io/docs/guides/status-codes/).
const (
	ok              = 0
	unknown         = 2
	invalidArgument = 3
	unimplemented   = 12
)

// largestRequest is far above what sops asks: a data key of some 200 bytes, and a context of at most 8 KiB.
const largestRequest = 64 << 10

type decryptRequest struct {
	arn, role, profile string
	context            map[string]string
	ciphertext         []byte
}

type decryptFunc func(context.Context, decryptRequest) ([]byte, error)

var (
	errNotKMS    = errors.New("this key service knows keys of KMS alone")
	errMalformed = errors.New("malformed message")
)

// handler answers KeyService/Decrypt, and every other call with Unimplemented.
func handler(decrypt decryptFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			http.Error(w, "gRPC only", http.StatusUnsupportedMediaType)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		answer, code, err := call(r, decrypt)
		if err == nil {
			w.Write(frame(answer)) //nolint:errcheck // sops has gone
		} else {
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Grpc-Message", escaped(err.Error()))
		}
		w.Header().Set("Grpc-Status", strconv.Itoa(code))
	})
}

func call(r *http.Request, decrypt decryptFunc) ([]byte, int, error) {
	if r.URL.Path != "/KeyService/Decrypt" {
		return nil, unimplemented, errors.New("this key service only decrypts")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, largestRequest+1))
	if err != nil {
		return nil, unknown, err
	}
	if len(body) > largestRequest || len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return nil, invalidArgument, errMalformed
	}
	asked, err := readDecryptRequest(body[5:])
	if err != nil {
		return nil, invalidArgument, err
	}
	plain, err := decrypt(r.Context(), asked)
	if err != nil {
		return nil, unknown, err
	}
	return appendBytes(nil, 1, plain), ok, nil // DecryptResponse: bytes plaintext = 1
}

// frame is a message without compression, with its length before it.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// escaped is a message as a header may have it.
func escaped(text string) string {
	var out strings.Builder
	for _, char := range []byte(text) {
		if char < ' ' || char > '~' || char == '%' {
			fmt.Fprintf(&out, "%%%02X", char)
		} else {
			out.WriteByte(char)
		}
	}
	return out.String()
}

// readDecryptRequest reads DecryptRequest { Key key = 1; bytes ciphertext = 2; } with Key { oneof { KmsKey kms_key = 1;
// … } } and KmsKey { string arn = 1; string role = 2; map<string, string> context = 3; string aws_profile = 4; }.
func readDecryptRequest(message []byte) (decryptRequest, error) {
	asked := decryptRequest{context: map[string]string{}}
	isKMS := false
	err := fields(message, func(number int, value []byte) error {
		switch number {
		case 1:
			return fields(value, func(number int, value []byte) error {
				isKMS = number == 1
				if !isKMS {
					return errNotKMS
				}
				return asked.readKey(value)
			})
		case 2:
			asked.ciphertext = value
		}
		return nil
	})
	if err == nil && !isKMS {
		err = errNotKMS
	}
	return asked, err
}

func (asked *decryptRequest) readKey(message []byte) error {
	return fields(message, func(number int, value []byte) error {
		switch number {
		case 1:
			asked.arn = string(value)
		case 2:
			asked.role = string(value)
		case 3:
			var entry [2]string
			err := fields(value, func(number int, value []byte) error {
				if number == 1 || number == 2 {
					entry[number-1] = string(value)
				}
				return nil
			})
			if err != nil {
				return err
			}
			asked.context[entry[0]] = entry[1]
		case 4:
			asked.profile = string(value)
		}
		return nil
	})
}

// fields calls a function for each field of a message whose fields all have a length (wire type 2), as sops' have
// (https://protobuf.dev/programming-guides/encoding/).
func fields(message []byte, each func(number int, value []byte) error) error {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		if size <= 0 || tag&7 != 2 || tag>>3 == 0 || tag>>3 > 1<<16 {
			return errMalformed
		}
		message = message[size:]
		length, size := binary.Uvarint(message)
		if size <= 0 || length > uint64(len(message)-size) {
			return errMalformed
		}
		message = message[size:]
		if err := each(int(tag>>3), message[:length]); err != nil {
			return err
		}
		message = message[length:]
	}
	return nil
}

func appendBytes(message []byte, number int, value []byte) []byte {
	message = binary.AppendUvarint(message, uint64(number)<<3|2)
	message = binary.AppendUvarint(message, uint64(len(value)))
	return append(message, value...)
}
