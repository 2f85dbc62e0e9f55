package main

// An attestation document of NitroTPM, as AWS's nitro-tpm-attest gets one (github.com/aws/NitroTPM-Tools): the request is
// written into an NV index of the TPM, a vendor command replaces it by the answer, which is read.

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// messageBuffer is the NV index. It is ours (the range is the owner's: TCG, "Registry of Reserved TPM 2.0 Handles and
	// Localities"), so one that is there was left by a run that was killed.
	messageBuffer = 0x018f1ee7
	// bufferSize is what nitro-tpm-attest takes: a document has nearly 5 KiB.
	bufferSize = 8192
	// chunk is how much one command reads or writes. Every TPM takes as much (TPM_PT_NV_BUFFER_MAX).
	chunk = 512

	algNull   = 0x0010
	algSHA512 = 0x000d

	handleOwner    = 0x40000001
	handlePassword = 0x40000009
	handleNull     = 0x40000007

	nvAuthWrite = 1 << 2
	nvAuthRead  = 1 << 18

	continueSession = 1

	ccNVUndefineSpace  = 0x122
	ccNVDefineSpace    = 0x12a
	ccNVWrite          = 0x137
	ccNVRead           = 0x14e
	ccFlushContext     = 0x165
	ccNVReadPublic     = 0x169
	ccStartAuthSession = 0x176
	ccNSMRequest       = 0x20000001 // TPM2_VENDOR_AWS_NSM_REQUEST

	rcNVDefined = 0x14c
)

// attestationDocument is a document of this moment with a public key in it.
func attestationDocument(device string, public []byte) (document []byte, err error) {
	tpm, err := openTPM(device)
	if err != nil {
		return nil, err
	}
	defer tpm.close()
	password := make([]byte, sha512.Size)
	rand.Read(password) // never fails
	if err := tpm.define(password); err != nil {
		return nil, fmt.Errorf("a message buffer of the NitroTPM: %w", err)
	}
	defer func() {
		if ended := tpm.undefine(); err == nil {
			err = ended
		}
	}()
	request := nsmRequest(public)
	for at := 0; at < len(request); at += chunk {
		piece := request[at:min(at+chunk, len(request))]
		_, err := tpm.index(ccNVWrite, password, binary.BigEndian.AppendUint16(sized(piece), uint16(at)))
		if err != nil {
			return nil, fmt.Errorf("a request to the NitroTPM: %w", err)
		}
	}
	if err := tpm.request(password); err != nil {
		return nil, fmt.Errorf("the NitroTPM does not attest: %w", err)
	}
	var answer []byte
	for at := 0; at < bufferSize; at += chunk {
		asked := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, chunk), uint16(at))
		piece, err := tpm.index(ccNVRead, password, asked)
		if err != nil {
			return nil, fmt.Errorf("the answer of the NitroTPM: %w", err)
		}
		if len(piece) != 2+chunk {
			return nil, errShort
		}
		answer = append(answer, piece[2:]...)
	}
	return nsmDocument(answer)
}

// define makes the message buffer, anew if one is there.
func (t *tpm) define(password []byte) error {
	public := binary.BigEndian.AppendUint32(nil, messageBuffer)
	public = binary.BigEndian.AppendUint16(public, algSHA512)
	public = binary.BigEndian.AppendUint32(public, nvAuthRead|nvAuthWrite)
	public = append(public, 0, 0) // no policy
	public = binary.BigEndian.AppendUint16(public, bufferSize)
	define := func() error {
		parameters := append(sized(password), sized(public)...)
		_, err := t.authorized(ccNVDefineSpace, []uint32{handleOwner}, withPassword(nil), parameters)
		return err
	}
	err := define()
	var refused responseCode
	if errors.As(err, &refused) && refused == rcNVDefined {
		if err = t.undefine(); err == nil {
			err = define()
		}
	}
	return err
}

func (t *tpm) undefine() error {
	_, err := t.authorized(ccNVUndefineSpace, []uint32{handleOwner, messageBuffer}, withPassword(nil), nil)
	return err
}

// index is a command on the message buffer by its password; the parameters of the answer.
func (t *tpm) index(code uint32, password, parameters []byte) ([]byte, error) {
	return t.authorized(code, []uint32{messageBuffer, messageBuffer}, withPassword(password), parameters)
}

// request is the vendor command, in an HMAC session as nitro-tpm-attest sends it. Its session is neither salted nor bound:
// what a TPM of the hypervisor's is told, the hypervisor knows.
func (t *tpm) request(password []byte) error {
	nonce := make([]byte, sha512.Size)
	rand.Read(nonce)
	start := binary.BigEndian.AppendUint32(nil, handleNull) // no salt
	start = binary.BigEndian.AppendUint32(start, handleNull)
	start = append(start, sized(nonce)...)
	start = append(start, 0, 0, 0) // no salt; an HMAC session
	start = binary.BigEndian.AppendUint16(start, algNull)
	start = binary.BigEndian.AppendUint16(start, algSHA512)
	answer, err := t.send(ccStartAuthSession, false, start)
	if err != nil {
		return err
	}
	session, nonceTPM, err := sessionOf(answer)
	if err != nil {
		return err
	}
	defer t.send(ccFlushContext, false, session) //nolint:errcheck // the TPM has three, and we end
	name, err := t.name()
	if err != nil {
		return err
	}
	command := sha512.New() // cpHash: the command's code, the names of its handles, no parameters
	command.Write(binary.BigEndian.AppendUint32(nil, ccNSMRequest))
	command.Write(name)
	command.Write(name)
	proof := hmac.New(sha512.New, password) // a session without salt and binding has no key of its own
	proof.Write(command.Sum(nil))
	proof.Write(nonce)
	proof.Write(nonceTPM)
	proof.Write([]byte{continueSession})
	area := append(append(session, sized(nonce)...), continueSession)
	area = append(area, sized(proof.Sum(nil))...)
	_, err = t.authorized(ccNSMRequest, []uint32{messageBuffer, messageBuffer}, area, nil)
	return err
}

// sessionOf is the handle of a new session, as bytes, and the TPM's nonce.
func sessionOf(answer []byte) (handle, nonce []byte, err error) {
	if len(answer) < 6 || len(answer) < 6+int(binary.BigEndian.Uint16(answer[4:])) {
		return nil, nil, errShort
	}
	return bytes.Clone(answer[:4]), answer[6 : 6+binary.BigEndian.Uint16(answer[4:])], nil
}

// name is the name of the message buffer: what a session's HMAC says it is about.
func (t *tpm) name() ([]byte, error) {
	answer, err := t.send(ccNVReadPublic, false, binary.BigEndian.AppendUint32(nil, messageBuffer))
	if err != nil {
		return nil, err
	}
	if len(answer) < 2 || len(answer) < 4+int(binary.BigEndian.Uint16(answer)) {
		return nil, errShort
	}
	answer = answer[2+binary.BigEndian.Uint16(answer):] // the public area
	if len(answer) < 2+int(binary.BigEndian.Uint16(answer)) {
		return nil, errShort
	}
	return answer[2 : 2+binary.BigEndian.Uint16(answer)], nil
}

// nsmRequest is {"Attestation": {"user_data": null, "nonce": null, "public_key": …}} in CBOR (RFC 8949), the form of
// aws-nitro-enclaves-nsm-api.
func nsmRequest(public []byte) []byte {
	request := append([]byte{0xa1}, text("Attestation")...)
	request = append(request, 0xa3)
	request = append(append(request, text("user_data")...), 0xf6)
	request = append(append(request, text("nonce")...), 0xf6)
	request = append(request, text("public_key")...)
	request = append(request, 0x59)
	request = binary.BigEndian.AppendUint16(request, uint16(len(public)))
	return append(request, public...)
}

// text is a text of less than 24 bytes in CBOR.
func text(value string) []byte {
	return append([]byte{0x60 | byte(len(value))}, value...)
}

// nsmDocument is the document in {"Attestation": {"document": …}}; of {"Error": code}, an error.
func nsmDocument(answer []byte) ([]byte, error) {
	document := append(append([]byte{0xa1}, text("Attestation")...), 0xa1)
	document = append(document, text("document")...)
	if rest, found := bytes.CutPrefix(answer, document); found && len(rest) >= 3 && rest[0] == 0x59 {
		size := int(binary.BigEndian.Uint16(rest[1:]))
		if size > len(rest)-3 {
			return nil, errShort
		}
		return rest[3 : 3+size], nil
	}
	failed := append([]byte{0xa1}, text("Error")...)
	if rest, found := bytes.CutPrefix(answer, failed); found && len(rest) > 0 && rest[0]&0xe0 == 0x60 {
		size := min(int(rest[0]&0x1f), len(rest)-1)
		return nil, fmt.Errorf("the NitroTPM does not attest: %q", rest[1:1+size])
	}
	return nil, errors.New("the NitroTPM does not attest: its answer is not known")
}
