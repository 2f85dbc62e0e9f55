package main

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A machine would ask KMS in another region or partition than the key's, or whoever wrote the sealed file could send it
// to a host of theirs.
func TestTheEndpointIsOfTheKeysRegion(t *testing.T) {
	for arn, wanted := range map[string]string{
		"arn:aws:kms:eu-west-1:111122223333:key/mrk-1":         "https://kms.eu-west-1.amazonaws.com",
		"arn:aws-cn:kms:cn-north-1:111122223333:key/1":         "https://kms.cn-north-1.amazonaws.com.cn",
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/": "https://kms.us-gov-west-1.amazonaws.com",
		"alias/mine": "",
		"arn:aws:kms:evil.example/:111122223333:key/1": "",
		"arn:aws:kms::111122223333:key/1":              "",
		"arn:aws:s3:eu-west-1:111122223333:key/1":      "",
		"arn:other:kms:eu-west-1:111122223333:key/1":   "",
	} {
		_, url, err := endpointOf(arn)
		if url != wanted || (err == nil) != (wanted != "") {
			t.Errorf("%s: %q, %v", arn, url, err)
		}
	}
}

// KMS's own words would be lost, or an answer that is bound to no document be taken.
func TestAnswersOfKMS(t *testing.T) {
	for body, wanted := range map[string]string{
		`{"__type":"com.amazonaws.kms#AccessDeniedException","Message":"no"}`: "operation error KMS: Decrypt, https response error StatusCode: 400, RequestID: 0a-1, api error AccessDeniedException: no",
		`{"__type":"ThrottlingException","message":"Rate exceeded"}`:          "api error ThrottlingException: Rate exceeded",
		`<html>`: "https response error StatusCode: 400, RequestID: 0a-1",
	} {
		answer := &http.Response{StatusCode: 400, Header: http.Header{"X-Amzn-Requestid": {"0a-1\n"}}}
		if _, err := read(answer, []byte(body)); err == nil || !strings.HasSuffix(err.Error(), wanted) {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, body := range []string{`{"Plaintext":"cGxhaW4="}`, `{"Plaintext":"cA==","CiphertextForRecipient":"cA=="}`, `{}`, `[]`} {
		if _, err := read(&http.Response{StatusCode: 200}, []byte(body)); err == nil {
			t.Errorf("%s was taken", body)
		}
	}
}

// The metadata service would be asked without a token, or what it says of a missing role be lost.
func TestCredentialsAreThoseOfTheRole(t *testing.T) {
	paths := map[string]string{
		"/latest/meta-data/iam/security-credentials/":        "machine\n",
		"/latest/meta-data/iam/security-credentials/machine": `{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch body, found := paths[r.URL.Path]; {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			io.WriteString(w, "token") //nolint:errcheck
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
			http.Error(w, "", http.StatusUnauthorized)
		case !found:
			http.Error(w, "", http.StatusNotFound)
		default:
			io.WriteString(w, body) //nolint:errcheck
		}
	}))
	defer server.Close()
	service := metadataService{server.URL, http.DefaultClient}
	found, err := service.credentials(context.Background())
	if err != nil || found != (credentials{"A", "S", "T"}) {
		t.Errorf("%v, %v", found, err)
	}
	delete(paths, "/latest/meta-data/iam/security-credentials/")
	if _, err := service.credentials(context.Background()); err == nil || !strings.Contains(err.Error(), "no EC2 IMDS role found") {
		t.Error(err)
	}
}

// AWS would refuse every request. That a signature is good is for tests/secrets/test_key_service.py to say: there the
// local cloud checks it. Here: that each thing that is signed changes it.
func TestSignaturesCoverTheRequest(t *testing.T) {
	now := time.Unix(1_800_000_000, 0).UTC()
	signature := func(body string, who credentials, region string, now time.Time) string {
		request := httptest.NewRequest(http.MethodPost, "https://kms.example/", strings.NewReader(body))
		sign(request, []byte(body), who, region, now)
		header := request.Header.Get("Authorization")
		return header[strings.LastIndex(header, "="):]
	}
	seen := map[string]bool{}
	for _, one := range []string{
		signature("{}", credentials{"A", "S", "T"}, "eu-west-1", now),
		signature("{ }", credentials{"A", "S", "T"}, "eu-west-1", now),
		signature("{}", credentials{"A", "s", "T"}, "eu-west-1", now),
		signature("{}", credentials{"A", "S", "t"}, "eu-west-1", now),
		signature("{}", credentials{"A", "S", "T"}, "eu-west-2", now),
		signature("{}", credentials{"A", "S", "T"}, "eu-west-1", now.Add(time.Second)),
	} {
		if seen[one] || len(one) != 1+2*sha256.Size {
			t.Error(one)
		}
		seen[one] = true
	}
}

// A document would be taken for one that is none.
func TestDocumentsAreReadAsNitroTPMWritesThem(t *testing.T) {
	head := "\xa1\x6bAttestation\xa1\x68document\x59\x00\x03"
	if found, err := nsmDocument([]byte(head + "doc\x00\x00")); err != nil || string(found) != "doc" {
		t.Errorf("%q, %v", found, err)
	}
	for _, answer := range []string{head + "do", head[:20], "", "\xa1\x65Error\x6fInvalidArgument", "\xa1\x65Error\x6fInv"} {
		if _, err := nsmDocument([]byte(answer)); err == nil {
			t.Errorf("%q was taken", answer)
		}
	}
}
