package main

// The message that KMS answers an attested machine: EnvelopedData of RFC 5652 in BER, its key under RSAES-OAEP with
// SHA-256 (RFC 3560), its content under AES-256-CBC. encoding/asn1 reads DER alone, which this is not: KMS uses
// indefinite lengths, and divides the content into several octet strings.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

const (
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
	tagSet      = 0x31
	tag0        = 0x80 // [0] IMPLICIT, primitive
	tag0Open    = 0xa0 // [0], constructed
	constructed = 0x20
	deepest     = 16
)

var (
	errBER       = errors.New("malformed BER")
	errEnvelope  = errors.New("no EnvelopedData with AES-256-CBC")
	oidEnveloped = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3}
	oidOAEP      = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7}
	oidAES256CBC = []byte{0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a}
)

// element is one element of BER: the content of a primitive one, or the elements of a constructed one.
type element struct {
	tag      byte
	content  []byte
	children []element
}

// openEnvelope decrypts a message for a key.
func openEnvelope(message []byte, key *rsa.PrivateKey) ([]byte, error) {
	root, rest, err := parse(message, 0)
	if err != nil || len(rest) != 0 {
		return nil, errBER
	}
	if !root.is(tagSequence, 2) || !bytes.Equal(root.children[0].content, oidEnveloped) || !root.children[1].is(tag0Open, 1) {
		return nil, errEnvelope
	}
	enveloped := root.children[1].children[0]
	if !enveloped.is(tagSequence, 3) || !enveloped.children[1].is(tagSet, 1) {
		return nil, errEnvelope
	}
	recipient, content := enveloped.children[1].children[0], enveloped.children[2]
	if !recipient.is(tagSequence, 4) || !content.is(tagSequence, 3) {
		return nil, errEnvelope
	}
	encryption, cipherOf := recipient.children[2], content.children[1]
	if !encryption.is(tagSequence, 2) || !bytes.Equal(encryption.children[0].content, oidOAEP) ||
		!cipherOf.is(tagSequence, 2) || !bytes.Equal(cipherOf.children[0].content, oidAES256CBC) {
		return nil, errEnvelope
	}
	encrypted, err := octets(content.children[2])
	if err != nil {
		return nil, err
	}
	contentKey, err := rsa.DecryptOAEP(sha256.New(), nil, key, recipient.children[3].content, nil)
	if err != nil {
		return nil, err
	}
	return decryptCBC(contentKey, cipherOf.children[1].content, encrypted)
}

func decryptCBC(key, vector, encrypted []byte) ([]byte, error) {
	if len(key) != 32 || len(vector) != aes.BlockSize || len(encrypted) == 0 || len(encrypted)%aes.BlockSize != 0 {
		return nil, errEnvelope
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(encrypted))
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(plain, encrypted)
	size := int(plain[len(plain)-1])
	if size == 0 || size > aes.BlockSize {
		return nil, errEnvelope
	}
	for _, one := range plain[len(plain)-size:] {
		if subtle.ConstantTimeByteEq(one, byte(size)) == 0 {
			return nil, errEnvelope
		}
	}
	return plain[:len(plain)-size], nil
}

// octets is the content of [0] IMPLICIT OCTET STRING, whole or in pieces.
func octets(one element) ([]byte, error) {
	switch one.tag {
	case tag0:
		return one.content, nil
	case tag0Open:
		var joined []byte
		for _, child := range one.children {
			if child.tag != tagOctets {
				return nil, errEnvelope
			}
			joined = append(joined, child.content...)
		}
		return joined, nil
	}
	return nil, errEnvelope
}

func (e element) is(tag byte, children int) bool {
	return e.tag == tag && len(e.children) == children
}

// parse reads one element (X.690, 8.1); what follows it. Tags of more than one byte are not needed.
func parse(data []byte, depth int) (element, []byte, error) {
	if len(data) < 2 || depth > deepest || data[0]&0x1f == 0x1f {
		return element{}, nil, errBER
	}
	one := element{tag: data[0]}
	open := data[1] == 0x80
	length, data, err := lengthOf(data[1:])
	if err != nil {
		return element{}, nil, err
	}
	if open {
		if one.tag&constructed == 0 {
			return element{}, nil, errBER
		}
		for len(data) >= 2 && (data[0] != 0 || data[1] != 0) {
			var child element
			if child, data, err = parse(data, depth+1); err != nil {
				return element{}, nil, err
			}
			one.children = append(one.children, child)
		}
		if len(data) < 2 {
			return element{}, nil, errBER
		}
		return one, data[2:], nil
	}
	one.content, data = data[:length], data[length:]
	if one.tag&constructed != 0 {
		for inside := one.content; len(inside) > 0; {
			var child element
			if child, inside, err = parse(inside, depth+1); err != nil {
				return element{}, nil, err
			}
			one.children = append(one.children, child)
		}
	}
	return one, data, nil
}

// lengthOf reads a length, 0 for an indefinite one; what follows it.
func lengthOf(data []byte) (int, []byte, error) {
	length, data := int(data[0]), data[1:]
	if length >= 0x80 {
		count := length - 0x80
		if count > 3 || count > len(data) {
			return 0, nil, errBER
		}
		length = 0
		for _, digit := range data[:count] {
			length = length<<8 | int(digit)
		}
		data = data[count:]
	}
	if length > len(data) {
		return 0, nil, errBER
	}
	return length, data, nil
}
