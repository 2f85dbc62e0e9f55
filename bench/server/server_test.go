package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// If this failed, a share of the quota would be a share of something else.
func TestBucketGivesTheBurstAndThenTheRate(t *testing.T) {
	now := time.Unix(0, 0)
	made := newBucket(1000, 100, now)
	taken := 0
	for range 3000 { // 3,000 asked for in 1.5 s
		if made.take(now) {
			taken++
		}
		now = now.Add(500 * time.Microsecond)
	}
	if taken < 1598 || taken > 1600 {
		t.Fatalf("%d tokens in 1.5 s, not 100 + 1,500", taken)
	}
	now = now.Add(time.Hour)
	for taken = 0; made.take(now); taken++ {
	}
	if taken != 100 {
		t.Fatalf("%d tokens saved in an hour, not the burst of 100", taken)
	}
}

// If this failed, the case without a limit would have one.
func TestBucketOfRateZeroIsNoLimit(t *testing.T) {
	now := time.Unix(0, 0)
	made := newBucket(0, 0, now)
	for range 1000 {
		if !made.take(now) {
			t.Fatal("throttled without a limit")
		}
	}
}

// If this failed, "10 % fail" would be another share, or not each kind of failure would come.
func TestFaultsComeInTheirShareAndOfEveryKind(t *testing.T) {
	drawn, seen := newFaults(0.1, 1), map[fault]int{}
	for range 10_000 {
		seen[drawn.draw()]++
	}
	if failed := 10_000 - seen[none]; failed < 900 || failed > 1100 || len(seen) != int(kindsOfFaults)+1 {
		t.Fatal(seen)
	}
}

type client struct {
	t   *testing.T
	url string
}

func (c client) do(method, path string, body string, headers ...string) (int, string) {
	c.t.Helper()
	request, _ := http.NewRequest(method, c.url+path, strings.NewReader(body))
	request.Header.Set("Authorization", "any")
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header.Get("x-amzn-ErrorType") + string(text)
}

func (c client) put(id string, index int, block string) int {
	c.t.Helper()
	sum := sha256.Sum256([]byte(block))
	status, _ := c.do("PUT", fmt.Sprintf("/snapshots/%s/blocks/%d", id, index), block, "x-amz-Data-Length", "524288",
		"x-amz-Checksum", base64.StdEncoding.EncodeToString(sum[:]), "x-amz-Checksum-Algorithm", "SHA256")
	return status
}

func (c client) start(body string) string {
	c.t.Helper()
	status, text := c.do("POST", "/snapshots", body)
	var made struct{ SnapshotId string }
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != 201 {
		c.t.Fatal(status, text)
	}
	return made.SnapshotId
}

func serve(t *testing.T, wanted settings) client {
	running := httptest.NewServer(newServer(newStore(t.TempDir(), true), wanted).routes())
	t.Cleanup(running.Close)
	return client{t, running.URL}
}

var block = strings.Repeat("a", blockSize)

// If this failed, an uploader that leaves blocks out would pass for one that is fast.
func TestCompletionIsRefusedUnlessTheCountIsRight(t *testing.T) {
	c := serve(t, settings{})
	id := c.start(`{"VolumeSize": 1}`)
	if status := c.put(id, 7, block); status != 201 {
		t.Fatal(status)
	}
	if status := c.put(id, 8, block[1:]); status != 400 {
		t.Fatal("a block that is too short:", status)
	}
	if status := c.put(id, 2048, block); status != 400 {
		t.Fatal("a block past the volume's end:", status)
	}
	if status := c.put("snap-1", 0, block); status != 404 {
		t.Fatal("a snapshot that is not there:", status)
	}
	if status, _ := c.do("POST", "/snapshots/completion/"+id, "", "x-amz-ChangedBlocksCount", "2"); status != 400 {
		t.Fatal("completed with a wrong count:", status)
	}
	if status, _ := c.do("POST", "/snapshots/completion/"+id, "", "x-amz-ChangedBlocksCount", "1"); status != 202 {
		t.Fatal(status)
	}
}

// If this failed, an incremental upload could not find its parent's map.
func TestChildInheritsAndIsReadBack(t *testing.T) {
	c := serve(t, settings{})
	parent := c.start(`{"VolumeSize": 1, "Tags": [{"Key": "k", "Value": "v"}]}`)
	c.put(parent, 3, block)
	c.do("POST", "/snapshots/completion/"+parent, "", "x-amz-ChangedBlocksCount", "1")
	child := c.start(fmt.Sprintf(`{"VolumeSize": 2, "ParentSnapshotId": %q}`, parent))
	c.put(child, 4, strings.Repeat("b", blockSize))
	c.do("POST", "/snapshots/completion/"+child, "", "x-amz-ChangedBlocksCount", "1")
	_, text := c.do("GET", "/snapshots/"+child+"/blocks", "")
	var page struct {
		Blocks []struct {
			BlockIndex int
			BlockToken string
		}
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Blocks) != 2 || page.Blocks[0].BlockIndex != 3 {
		t.Fatal(text)
	}
	_, text = c.do("GET", "/snapshots/"+child+"/blocks/3?blockToken="+strings.ReplaceAll(page.Blocks[0].BlockToken, "+", "%2B"), "")
	if text != block {
		t.Fatal(text[:100])
	}
	_, text = c.do("POST", "/", "Action=DescribeSnapshots&Filter.1.Name=tag:k&Filter.1.Value.1=v&Filter.2.Name=status&Filter.2.Value.1=completed",
		"Content-Type", "application/x-www-form-urlencoded")
	if !strings.Contains(text, parent) || strings.Contains(text, child) {
		t.Fatal(text)
	}
}

// If this failed, the counters would not be those of the puts.
func TestThrottledPutsAreRefusedAndCounted(t *testing.T) {
	c := serve(t, settings{Rate: 0.001, Burst: 2})
	id := c.start(`{"VolumeSize": 1}`)
	for index, wanted := range []int{201, 201, 400, 400, 400} {
		if status := c.put(id, index, block); status != wanted {
			t.Fatal(index, status)
		}
	}
	_, text := c.do("GET", "/stats", "")
	var seen struct{ Accepted, Throttled int }
	if err := json.Unmarshal([]byte(text), &seen); err != nil || seen.Accepted != 2 || seen.Throttled != 3 {
		t.Fatal(text)
	}
	if _, text := c.do("POST", "/reset", ""); !strings.Contains(text, "rate") {
		t.Fatal(text)
	}
	if _, text := c.do("GET", "/stats", ""); !strings.Contains(text, `"accepted":0`) || !strings.Contains(text, `"snapshots":[]`) {
		t.Fatal(text)
	}
}

// If this failed, a client would never see an answer that was cut.
func TestEveryPutFailsIfAllShall(t *testing.T) {
	c := serve(t, settings{Fail: 1, Seed: 3})
	id := c.start(`{"VolumeSize": 1}`)
	for index := range 60 {
		sum := sha256.Sum256([]byte(block))
		status, text := c.do("PUT", fmt.Sprintf("/snapshots/%s/blocks/%d", id, index), block, "x-amz-Data-Length", "524288",
			"x-amz-Checksum", base64.StdEncoding.EncodeToString(sum[:]), "x-amz-Checksum-Algorithm", "SHA256")
		if status == 201 && text == "{}" {
			t.Fatal(index)
		}
	}
}
