package main

// The instance metadata service, version 2 (EC2 user guide, "Retrieve security credentials from instance metadata"), and
// KMS's Decrypt, signed with Signature Version 4 (IAM user guide, "Create a signed AWS API request").

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	tokenSeconds   = "60"
	metadataTime   = 5 * time.Second
	connectTime    = 5 * time.Second
	largestAnswer  = 1 << 20
	target         = "TrentService.Decrypt"
	signedHeaders  = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
	jsonType       = "application/x-amz-json-1.1"
	keyEncryption  = "RSAES_OAEP_SHA_256"
	algorithm      = "AWS4-HMAC-SHA256"
	timeFormat     = "20060102T150405Z"
	credentialPath = "/latest/meta-data/iam/security-credentials/"
)

// httpClient believes these authorities, or the system's, and uses no proxy. It follows no redirect.
func httpClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: connectTime}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 20 * time.Second, // a processor that is emulated takes seconds
			ForceAttemptHTTP2:   false,
			DisableKeepAlives:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type credentials struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
}

type metadataService struct {
	url    string
	client *http.Client
}

// credentials are those of the machine's role, as they are now. The errors' words are those of the AWS SDK's.
func (m metadataService) credentials(ctx context.Context) (credentials, error) {
	var found credentials
	token, err := m.ask(ctx, http.MethodPut, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", tokenSeconds)
	if err != nil {
		return found, fmt.Errorf("ec2imds: no token: %w", err)
	}
	get := func(path string) (string, error) {
		return m.ask(ctx, http.MethodGet, path, "X-aws-ec2-metadata-token", token)
	}
	roles, err := get(credentialPath)
	if err != nil {
		return found, fmt.Errorf("no EC2 IMDS role found, ec2imds: %w", err)
	}
	role, _, _ := strings.Cut(strings.TrimSpace(roles), "\n")
	answer, err := get(credentialPath + role)
	if err != nil {
		return found, fmt.Errorf("ec2imds: no credentials: %w", err)
	}
	if err := json.Unmarshal([]byte(answer), &found); err != nil || found.AccessKeyID == "" || found.SecretAccessKey == "" {
		return found, errors.New("ec2imds: no credentials in its answer")
	}
	return found, nil
}

func (m metadataService) ask(ctx context.Context, method, path, header, value string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, m.url+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set(header, value)
	answer, err := m.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestAnswer))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %d", answer.StatusCode)
	}
	return string(body), err
}

type keyManagement struct {
	endpoint string
	client   *http.Client
}

// decrypt is the message that KMS answers for the public key in the document.
func (k keyManagement) decrypt(ctx context.Context, who credentials, asked decryptRequest, document []byte) ([]byte, error) {
	region, url, err := endpointOf(asked.arn)
	if err != nil {
		return nil, err
	}
	if k.endpoint != "" {
		url = k.endpoint
	}
	// sops has the data key in Base64, and KMS takes it so.
	if _, err := base64.StdEncoding.DecodeString(string(asked.ciphertext)); err != nil {
		return nil, errors.New("error base64-decoding encrypted data key")
	}
	body, err := json.Marshal(map[string]any{
		"KeyId":             asked.arn,
		"CiphertextBlob":    string(asked.ciphertext),
		"EncryptionContext": asked.context,
		"Recipient":         map[string]any{"KeyEncryptionAlgorithm": keyEncryption, "AttestationDocument": document},
	})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	sign(request, body, who, region, time.Now().UTC())
	answer, err := k.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("operation error KMS: Decrypt, https response error StatusCode: 0, request send failed, %w", err)
	}
	defer answer.Body.Close()
	told, err := io.ReadAll(io.LimitReader(answer.Body, largestAnswer))
	if err != nil {
		return nil, err
	}
	return read(answer, told)
}

// read is the message in an answer, or KMS's refusal in the words of the AWS SDK.
func read(answer *http.Response, told []byte) ([]byte, error) {
	var content struct {
		Type                   string `json:"__type"`
		Message                string `json:"message"` // any case: JSON's names are matched so
		CiphertextForRecipient []byte
		Plaintext              []byte
	}
	err := json.Unmarshal(told, &content)
	switch {
	case answer.StatusCode != http.StatusOK && err == nil && content.Type != "":
		code := content.Type[strings.LastIndex(content.Type, "#")+1:]
		return nil, fmt.Errorf("operation error KMS: Decrypt, https response error StatusCode: %d, RequestID: %s, api error %s: %s",
			answer.StatusCode, requestID(answer), code, content.Message)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("operation error KMS: Decrypt, https response error StatusCode: %d, RequestID: %s",
			answer.StatusCode, requestID(answer))
	case err != nil:
		return nil, errors.New("the answer of KMS is no JSON")
	case len(content.Plaintext) > 0 || len(content.CiphertextForRecipient) == 0:
		// An answer in plain has not been bound to this machine's document.
		return nil, errors.New("the answer of KMS is not for this machine's attestation document")
	}
	return content.CiphertextForRecipient, nil
}

func requestID(answer *http.Response) string {
	id := strings.Map(func(char rune) rune {
		if strings.ContainsRune("0123456789abcdefABCDEF-", char) {
			return char
		}
		return -1
	}, answer.Header.Get("X-Amzn-Requestid"))
	if id == "" {
		return "-"
	}
	return id
}

// suffixes are the domains of AWS's partitions (AWS General Reference, "AWS service endpoints").
var suffixes = map[string]string{
	"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu",
}

// endpointOf is the region of a key, and KMS's endpoint there.
func endpointOf(arn string) (region, url string, err error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" || suffixes[parts[1]] == "" || !isRegion(parts[3]) {
		return "", "", errors.New("no valid ARN found in '" + arn + "'")
	}
	return parts[3], "https://kms." + parts[3] + "." + suffixes[parts[1]], nil
}

func isRegion(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func sign(request *http.Request, body []byte, who credentials, region string, now time.Time) {
	stamp := now.Format(timeFormat)
	day := stamp[:8]
	request.Header.Set("Content-Type", jsonType)
	request.Header.Set("X-Amz-Date", stamp)
	request.Header.Set("X-Amz-Security-Token", who.Token)
	request.Header.Set("X-Amz-Target", target)
	digest := sha256.Sum256(body)
	canonical := strings.Join([]string{
		request.Method, "/", "",
		"content-type:" + jsonType, "host:" + request.URL.Host, "x-amz-date:" + stamp,
		"x-amz-security-token:" + who.Token, "x-amz-target:" + target, "",
		signedHeaders, hex.EncodeToString(digest[:]),
	}, "\n")
	hashed := sha256.Sum256([]byte(canonical))
	scope := day + "/" + region + "/kms/aws4_request"
	key := []byte("AWS4" + who.SecretAccessKey)
	for _, part := range []string{day, region, "kms", "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, strings.Join([]string{algorithm, stamp, scope, hex.EncodeToString(hashed[:])}, "\n"))
	request.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		algorithm, who.AccessKeyID, scope, signedHeaders, hex.EncodeToString(signature)))
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}
