package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func kmsKey(parts ...[]byte) []byte {
	return appendBytes(nil, 1, appendBytes(nil, 1, bytes.Join(parts, nil)))
}

// What sops asks would be asked of KMS otherwise: another key, context or data key.
func TestRequestsAreReadAsSopsWritesThem(t *testing.T) {
	entry := func(name, value string) []byte {
		return appendBytes(nil, 3, appendBytes(appendBytes(nil, 1, []byte(name)), 2, []byte(value)))
	}
	message := kmsKey(appendBytes(nil, 1, []byte("arn")), appendBytes(nil, 2, []byte("role")),
		entry("Environment", "fleetswap/prod"), entry("Other", ""), appendBytes(nil, 4, []byte("profile")))
	message = appendBytes(message, 2, []byte("c2VhbGVk"))
	found, err := readDecryptRequest(message)
	wanted := decryptRequest{
		arn: "arn", role: "role", profile: "profile", ciphertext: []byte("c2VhbGVk"),
		context: map[string]string{"Environment": "fleetswap/prod", "Other": ""},
	}
	if err != nil || !reflect.DeepEqual(found, wanted) {
		t.Errorf("%+v, %v", found, err)
	}
	for _, key := range []int{2, 3, 6} { // PGP, GCP, age
		other := appendBytes(nil, 1, appendBytes(nil, key, []byte("x")))
		if _, err := readDecryptRequest(other); !errors.Is(err, errNotKMS) {
			t.Errorf("key %d: %v", key, err)
		}
	}
	if _, err := readDecryptRequest(nil); !errors.Is(err, errNotKMS) {
		t.Error(err)
	}
	for size := range message {
		_, _ = readDecryptRequest(message[:size]) // ends in an error or not, but ends
	}
}

func ask(path, kind string, body []byte, decrypt decryptFunc) *http.Response {
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	request.Header.Set("Content-Type", kind)
	recorder := httptest.NewRecorder()
	handler(decrypt).ServeHTTP(recorder, request)
	return recorder.Result()
}

// sops would not understand an answer or a refusal, or could do more than decrypt.
func TestAnswersAreOfGRPC(t *testing.T) {
	const grpc = "application/grpc"
	asked := frame(appendBytes(kmsKey(appendBytes(nil, 1, []byte("arn"))), 2, []byte("sealed")))
	answer := ask("/KeyService/Decrypt", grpc, asked, func(_ context.Context, asked decryptRequest) ([]byte, error) {
		return append([]byte("open:"), asked.ciphertext...), nil
	})
	body, _ := io.ReadAll(answer.Body)
	if answer.Trailer.Get("Grpc-Status") != "0" || !bytes.Equal(body, frame(appendBytes(nil, 1, []byte("open:sealed")))) {
		t.Errorf("%q, %v", body, answer.Trailer)
	}
	refuse := func(context.Context, decryptRequest) ([]byte, error) { return nil, errors.New("100 %\nno") }
	for _, one := range []struct {
		path, kind string
		body       []byte
		status     string
	}{
		{"/KeyService/Decrypt", grpc, asked, "2"},
		{"/KeyService/Encrypt", grpc, asked, "12"},
		{"/grpc.reflection/List", grpc, asked, "12"},
		{"/KeyService/Decrypt", grpc, asked[:4], "3"},
		{"/KeyService/Decrypt", grpc, append([]byte{1}, asked[1:]...), "3"},
		{"/KeyService/Decrypt", grpc, append(bytes.Clone(asked), 0), "3"},
		{"/KeyService/Decrypt", grpc, make([]byte, largestRequest+1), "3"},
	} {
		answer := ask(one.path, one.kind, one.body, refuse)
		message := answer.Header.Get("Grpc-Message") + answer.Trailer.Get("Grpc-Message")
		status := answer.Header.Get("Grpc-Status") + answer.Trailer.Get("Grpc-Status")
		if status != one.status || message == "" || strings.ContainsAny(message, "\n") {
			t.Errorf("%s: status %s, %q", one.path, status, message)
		}
	}
	if answer := ask("/KeyService/Decrypt", "text/plain", asked, refuse); answer.StatusCode != http.StatusUnsupportedMediaType {
		t.Error(answer.Status)
	}
}
