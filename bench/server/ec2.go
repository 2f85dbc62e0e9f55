package main

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const account = "123456789012"

type (
	xmlTag struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	}
	xmlSnapshot struct {
		SnapshotId  string   `xml:"snapshotId"`
		VolumeId    string   `xml:"volumeId"`
		Status      string   `xml:"status"`
		StartTime   string   `xml:"startTime"`
		Progress    string   `xml:"progress"`
		OwnerId     string   `xml:"ownerId"`
		VolumeSize  int64    `xml:"volumeSize"`
		Description string   `xml:"description"`
		Encrypted   bool     `xml:"encrypted"`
		KmsKeyId    string   `xml:"kmsKeyId,omitempty"`
		StorageTier string   `xml:"storageTier"`
		Tags        []xmlTag `xml:"tagSet>item"`
	}
	xmlAnswer struct {
		XMLName   xml.Name
		RequestId string        `xml:"requestId"`
		Return    *bool         `xml:"return,omitempty"`
		Snapshots []xmlSnapshot `xml:"snapshotSet>item,omitempty"`
	}
	xmlError struct {
		XMLName   xml.Name `xml:"Response"`
		Code      string   `xml:"Errors>Error>Code"`
		Message   string   `xml:"Errors>Error>Message"`
		RequestId string   `xml:"RequestID"`
	}
)

// query is the EC2 query API, as far as an uploader of snapshots needs it.
func (s *server) query(w http.ResponseWriter, r *http.Request) {
	world := s.now()
	if err := r.ParseForm(); err != nil {
		writeXML(w, http.StatusBadRequest, xmlError{Code: "MalformedQueryString", Message: err.Error()})
		return
	}
	action := r.PostForm.Get("Action")
	world.stats.call(action)
	time.Sleep(world.latency)
	shown := xmlAnswer{XMLName: xml.Name{Space: "http://ec2.amazonaws.com/doc/2016-11-15/", Local: action + "Response"}, RequestId: "bench"}
	err := &refusal{http.StatusBadRequest, "InvalidAction", "", "The benchmark's server has no action " + action + "."}
	switch action {
	case "DescribeSnapshots":
		shown.Snapshots, err = s.describe(r.PostForm)
	case "DeleteSnapshot":
		shown.Return, err = s.remove(r.PostForm)
	case "CreateTags", "DeleteTags":
		shown.Return, err = s.tag(r.PostForm, action == "CreateTags")
	}
	if err != nil {
		world.stats.note(world.stats.Refused, err.code)
		writeXML(w, err.status, xmlError{Code: err.code, Message: err.message, RequestId: "bench"})
		return
	}
	writeXML(w, http.StatusOK, shown)
}

func writeXML(w http.ResponseWriter, status int, shown any) {
	body, err := xml.Marshal(shown)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(xml.Header)+len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), body...))
}

// values are the members NAME.1, NAME.2, … of a request.
func values(form url.Values, name string) []string {
	var found []string
	for n := 1; form.Has(fmt.Sprintf("%s.%d", name, n)); n++ {
		found = append(found, form.Get(fmt.Sprintf("%s.%d", name, n)))
	}
	return found
}

func absent(id string) *refusal {
	return &refusal{http.StatusBadRequest, "InvalidSnapshot.NotFound", "", "The snapshot '" + id + "' does not exist."}
}

func (s *server) describe(form url.Values) ([]xmlSnapshot, *refusal) {
	ids := values(form, "SnapshotId")
	for _, id := range ids {
		if _, err := s.store.find(id); err != nil {
			return nil, absent(id)
		}
	}
	var shown []xmlSnapshot
	for _, each := range s.store.list() {
		if len(ids) > 0 && !slices.Contains(ids, each.id) {
			continue
		}
		matches, err := each.matches(form)
		if err != nil {
			return nil, err
		}
		if matches {
			shown = append(shown, each.show())
		}
	}
	return shown, nil
}

func (s *snapshot) matches(form url.Values) (bool, *refusal) {
	for n := 1; form.Has(fmt.Sprintf("Filter.%d.Name", n)); n++ {
		name := form.Get(fmt.Sprintf("Filter.%d.Name", n))
		wanted := values(form, fmt.Sprintf("Filter.%d.Value", n))
		var has []string
		switch {
		case strings.HasPrefix(name, "tag:"):
			for _, each := range s.asked.Tags {
				if each.Key == strings.TrimPrefix(name, "tag:") {
					has = append(has, each.Value)
				}
			}
		case name == "tag-key":
			for _, each := range s.asked.Tags {
				has = append(has, each.Key)
			}
		case name == "status":
			has = []string{s.state()}
		case name == "encrypted":
			has = []string{strconv.FormatBool(s.asked.Encrypted)}
		case name == "snapshot-id":
			has = []string{s.id}
		case name == "owner-id":
			has = []string{account}
		case name == "volume-size":
			has = []string{strconv.FormatInt(s.asked.VolumeSize, 10)}
		default:
			return false, &refusal{http.StatusBadRequest, "InvalidParameterValue", "", "The benchmark's server has no filter " + name + "."}
		}
		if !slices.ContainsFunc(has, func(value string) bool { return slices.Contains(wanted, value) }) {
			return false, nil
		}
	}
	return true, nil
}

func (s *snapshot) show() xmlSnapshot {
	shown := xmlSnapshot{
		SnapshotId: s.id, VolumeId: "vol-ffffffff", Status: s.state(), StartTime: s.started.Format("2006-01-02T15:04:05.000Z"),
		Progress: "100%", OwnerId: account, VolumeSize: s.asked.VolumeSize, Description: s.asked.Description,
		Encrypted: s.asked.Encrypted, KmsKeyId: s.asked.KmsKeyArn, StorageTier: "standard",
	}
	for _, each := range s.asked.Tags {
		shown.Tags = append(shown.Tags, xmlTag(each))
	}
	return shown
}

func (s *server) remove(form url.Values) (*bool, *refusal) {
	id := form.Get("SnapshotId")
	if _, err := s.store.find(id); err != nil {
		return nil, absent(id)
	}
	s.store.remove(id)
	done := true
	return &done, nil
}

func (s *server) tag(form url.Values, create bool) (*bool, *refusal) {
	for _, id := range values(form, "ResourceId") {
		tagged, err := s.store.find(id)
		if err != nil {
			return nil, absent(id)
		}
		for n := 1; form.Has(fmt.Sprintf("Tag.%d.Key", n)); n++ {
			given := tag{form.Get(fmt.Sprintf("Tag.%d.Key", n)), form.Get(fmt.Sprintf("Tag.%d.Value", n))}
			s.store.retag(tagged, given, create)
		}
	}
	done := true
	return &done, nil
}
