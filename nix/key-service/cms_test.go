package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

func tlv(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	size := len(content)
	if size < 0x80 {
		return append([]byte{tag, byte(size)}, content...)
	}
	return append([]byte{tag, 0x82, byte(size >> 8), byte(size)}, content...)
}

func open(tag byte, parts ...[]byte) []byte {
	return append(append([]byte{tag, 0x80}, bytes.Join(parts, nil)...), 0, 0)
}

// envelope has the form of the messages that KMS sends: see tests/localcloud/attestation for one of the local cloud's.
func envelope(t *testing.T, key *rsa.PublicKey, plain []byte, seq func(byte, ...[]byte) []byte, chunks int) []byte {
	t.Helper()
	contentKey, vector := make([]byte, 32), make([]byte, 16)
	rand.Read(contentKey)
	pad := 16 - len(plain)%16
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, vector).CryptBlocks(padded, padded)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, contentKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := tlv(0x80, padded)
	if chunks > 0 {
		var pieces []byte
		for at := 0; at < len(padded); at += chunks {
			pieces = append(pieces, tlv(tagOctets, padded[at:min(at+chunks, len(padded))])...)
		}
		content = seq(tag0Open, pieces)
	}
	recipient := tlv(tagSequence, tlv(2, []byte{2}), tlv(0x80, make([]byte, 32)),
		tlv(tagSequence, tlv(tagOID, oidOAEP), tlv(tagSequence)), tlv(tagOctets, wrapped))
	encrypted := seq(tagSequence, tlv(tagOID, []byte{1}), tlv(tagSequence, tlv(tagOID, oidAES256CBC), tlv(tagOctets, vector)), content)
	enveloped := seq(tagSequence, tlv(2, []byte{2}), tlv(tagSet, recipient), encrypted)
	return seq(tagSequence, tlv(tagOID, oidEnveloped), seq(tag0Open, enveloped))
}

// A message in another of BER's forms would not be read, or one that was cut or changed would be.
func TestEnvelopesAreOpenedInAnyFormOfBER(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("a data key of thirty-two bytes..")
	for name, message := range map[string][]byte{
		"DER":                   envelope(t, &key.PublicKey, plain, tlv, 0),
		"indefinite":            envelope(t, &key.PublicKey, plain, open, 1000),
		"indefinite, in pieces": envelope(t, &key.PublicKey, plain, open, 16),
		"DER, in pieces":        envelope(t, &key.PublicKey, plain, tlv, 7),
	} {
		found, err := openEnvelope(message, key)
		if err != nil || !bytes.Equal(found, plain) {
			t.Errorf("%s: %q, %v", name, found, err)
		}
		for size := range message {
			if _, err := openEnvelope(message[:size], key); err == nil {
				t.Fatalf("%s: the first %d bytes were enough", name, size)
			}
		}
		if _, err := openEnvelope(append(message, 0), key); err == nil {
			t.Errorf("%s: something after the end was not seen", name)
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openEnvelope(envelope(t, &key.PublicKey, plain, open, 16), other); err == nil {
		t.Error("another key opened it")
	}
}

// Whoever answers in KMS's place could end the program, or make it loop.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add([]byte{0x30, 0x83, 0xff, 0xff, 0xff, 0})
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		one, rest, err := parse(data, 0)
		if err == nil && len(rest) >= len(data) {
			t.Errorf("%v took nothing of %x", one, data)
		}
	})
}
