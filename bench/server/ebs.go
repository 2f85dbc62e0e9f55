package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// settings are what a run may change between two resets.
type settings struct {
	Rate      float64 `json:"rate"`
	Burst     float64 `json:"burst"`
	LatencyMs float64 `json:"latency_ms"`
	Fail      float64 `json:"fail"` // share of the puts, 0 to 1
	Seed      uint64  `json:"seed"`
	Verify    bool    `json:"verify"`
}

// world is all that one reset replaces.
type world struct {
	settings settings
	latency  time.Duration
	bucket   *bucket
	faults   *faults
	stats    *stats
}

func newWorld(wanted settings) *world {
	return &world{
		settings: wanted,
		latency:  time.Duration(wanted.LatencyMs * float64(time.Millisecond)),
		bucket:   newBucket(wanted.Rate, wanted.Burst, time.Now()),
		faults:   newFaults(wanted.Fail, wanted.Seed),
		stats:    newStats(),
	}
}

type server struct {
	store  *store
	mutex  sync.RWMutex
	world  *world
	blocks sync.Pool // of *[]byte: a whole block if its bytes matter, else a piece that stays in the processor's cache
}

// pieceSize is how much of a block that nobody looks at is read at once.
const pieceSize = 128 * 1024

func newServer(store *store, wanted settings) *server {
	made := &server{store: store, world: newWorld(wanted)}
	made.blocks.New = func() any {
		buffer := make([]byte, blockSize)
		return &buffer
	}
	return made
}

func (s *server) now() *world {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.world
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	named := func(name string, handle func(http.ResponseWriter, *http.Request, *world) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			world := s.now()
			world.stats.call(name)
			err := error(&refusal{http.StatusForbidden, "MissingAuthenticationTokenException", "", "Missing Authentication Token"})
			if r.Header.Get("Authorization") != "" {
				err = handle(w, r, world)
			}
			if err != nil {
				world.refuse(w, err)
			}
		}
	}
	mux.HandleFunc("POST /snapshots", named("StartSnapshot", s.start))
	mux.HandleFunc("PUT /snapshots/{id}/blocks/{index}", named("PutSnapshotBlock", s.put))
	mux.HandleFunc("POST /snapshots/completion/{id}", named("CompleteSnapshot", s.complete))
	mux.HandleFunc("GET /snapshots/{id}/blocks", named("ListSnapshotBlocks", s.list))
	mux.HandleFunc("GET /snapshots/{id}/blocks/{index}", named("GetSnapshotBlock", s.get))
	mux.HandleFunc("POST /{$}", s.query)
	mux.HandleFunc("GET /stats", s.showStats)
	mux.HandleFunc("POST /reset", s.reset)
	mux.HandleFunc("GET /digests/{id}", s.digests)
	return mux
}

func (w *world) refuse(out http.ResponseWriter, err error) {
	var told *refusal
	if !errors.As(err, &told) {
		told = &refusal{http.StatusInternalServerError, "InternalServerException", "", err.Error()}
	}
	w.stats.note(w.stats.Refused, told.code)
	w.tell(out, told)
}

func (w *world) tell(out http.ResponseWriter, told *refusal) {
	time.Sleep(w.latency)
	body := map[string]string{"Message": told.message}
	if told.reason != "" {
		body["Reason"] = told.reason
	}
	out.Header().Set("x-amzn-ErrorType", told.code)
	answer(out, told.status, body)
}

func answer(w http.ResponseWriter, status int, shown any) {
	body, err := json.Marshal(shown)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (s *server) start(w http.ResponseWriter, r *http.Request, world *world) error {
	var asked startRequest
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return invalid("INVALID_PARAMETER_VALUE", "The body is not a JSON object: %v", err)
	}
	made, err := s.store.start(asked)
	if err != nil {
		return err
	}
	time.Sleep(world.latency)
	shown := map[string]any{
		"SnapshotId": made.id, "OwnerId": account, "Status": made.state(), "StartTime": made.started.Unix(),
		"VolumeSize": asked.VolumeSize, "BlockSize": blockSize, "Tags": asked.Tags, "SseType": "none",
	}
	if asked.ParentSnapshotId != "" {
		shown["ParentSnapshotId"] = asked.ParentSnapshotId
	}
	if asked.Description != "" {
		shown["Description"] = asked.Description
	}
	answer(w, http.StatusCreated, shown)
	return nil
}

var throttles = [...]*refusal{
	{http.StatusBadRequest, "RequestThrottledException", "ACCOUNT_THROTTLED", "The request was throttled."},
	{http.StatusBadRequest, "RequestThrottledException", "DEPENDENCY_REQUEST_THROTTLED", "The request was throttled."},
}

func (s *server) put(w http.ResponseWriter, r *http.Request, world *world) error {
	buffer := s.blocks.Get().(*[]byte)
	block := *buffer
	bytesMatter := s.store.keepData || world.settings.Verify
	sum, err := readBlock(r, block, bytesMatter)
	if !bytesMatter { // the buffer is free while the answer waits
		s.blocks.Put(buffer)
	} else {
		defer s.blocks.Put(buffer)
	}
	if err != nil {
		return err
	}
	into, index, err := s.place(r)
	if err != nil {
		return err
	}
	claimed, err := checksum(r.Header)
	if err != nil {
		return err
	}
	if claimed == nil || r.Header.Get("x-amz-Checksum-Algorithm") != "SHA256" {
		return invalid("INVALID_PARAMETER_VALUE", "A block needs its SHA256 checksum.")
	}
	if sum != nil && *sum != *claimed {
		return invalid("INVALID_PARAMETER_VALUE", "The checksum is not that of the block's bytes.")
	}

	drawn := world.faults.draw()
	if drawn != none {
		world.stats.note(world.stats.Faults, faultNames[drawn])
	}
	switch drawn {
	case internal:
		world.tell(w, &refusal{http.StatusInternalServerError, "InternalServerException", "", "Asked for by the benchmark."})
		return nil
	case unavailable:
		world.tell(w, &refusal{http.StatusServiceUnavailable, "ServiceUnavailable", "", "Asked for by the benchmark."})
		return nil
	case cutBefore:
		time.Sleep(world.latency)
		cut(w, "")
		return nil
	}

	now := time.Now()
	accepted := world.bucket.take(now)
	world.stats.decided(now, accepted)
	if !accepted {
		world.tell(w, throttles[now.Nanosecond()&1])
		return nil
	}
	distinct, err := into.put(index, *claimed, block)
	if err != nil {
		return err
	}
	world.stats.stored(distinct)
	time.Sleep(world.latency)
	switch drawn {
	case cutAfterWrite:
		cut(w, "")
		return nil
	case cutInHeaders:
		cut(w, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nx-amz-Chec")
		return nil
	case cutInBody:
		cut(w, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"+
			"x-amz-Checksum-Algorithm: SHA256\r\nx-amz-Checksum: "+r.Header.Get("x-amz-Checksum")+"\r\n\r\n{")
		return nil
	}
	w.Header().Set("x-amz-Checksum", r.Header.Get("x-amz-Checksum"))
	w.Header().Set("x-amz-Checksum-Algorithm", "SHA256")
	answer(w, http.StatusCreated, struct{}{})
	return nil
}

// readBlock reads the whole body. Its bytes are in `block`, and its SHA-256 is returned, only if they matter.
func readBlock(r *http.Request, block []byte, bytesMatter bool) (*digest, error) {
	if r.ContentLength != blockSize || r.Header.Get("x-amz-Data-Length") != strconv.Itoa(blockSize) {
		return nil, invalid("INVALID_PARAMETER_VALUE", "Content-Length and x-amz-Data-Length must be %d.", blockSize)
	}
	if bytesMatter {
		if _, err := io.ReadFull(r.Body, block); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(block)
		return &sum, nil
	}
	for left := blockSize; left > 0; {
		got, err := r.Body.Read(block[:min(left, pieceSize)])
		left -= got
		if err != nil && left > 0 {
			return nil, err
		}
	}
	return nil, nil
}

func (s *server) place(r *http.Request) (*snapshot, uint32, error) {
	into, err := s.store.find(r.PathValue("id"))
	if err != nil {
		return nil, 0, err
	}
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 32)
	if err != nil || int64(index) >= into.asked.VolumeSize*blocksAGiB {
		return nil, 0, invalid("INVALID_PARAMETER_VALUE", "The volume has no block %s.", r.PathValue("index"))
	}
	return into, uint32(index), nil
}

// checksum is that of the header, nil if there is none.
func checksum(header http.Header) (*digest, error) {
	text := header.Get("x-amz-Checksum")
	if text == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return nil, invalid("INVALID_PARAMETER_VALUE", "x-amz-Checksum is no SHA256 in base64.")
	}
	claimed := digest(raw)
	return &claimed, nil
}

func (s *server) complete(w http.ResponseWriter, r *http.Request, world *world) error {
	found, err := s.store.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(r.Header.Get("x-amz-ChangedBlocksCount"))
	if err != nil {
		return invalid("INVALID_PARAMETER_VALUE", "x-amz-ChangedBlocksCount is needed.")
	}
	claimed, err := checksum(r.Header)
	if err != nil {
		return err
	}
	if claimed != nil && r.Header.Get("x-amz-Checksum-Aggregation-Method") != "LINEAR" {
		return invalid("INVALID_PARAMETER_VALUE", "x-amz-Checksum-Aggregation-Method must be LINEAR.")
	}
	if err := found.complete(count, claimed); err != nil {
		return err
	}
	time.Sleep(world.latency)
	answer(w, http.StatusAccepted, map[string]string{"Status": "completed"})
	return nil
}

func (s *server) finished(id string) (*snapshot, error) {
	found, err := s.store.find(id)
	if err == nil && !found.done {
		err = invalid("INVALID_SNAPSHOT_ID", "The snapshot '%s' is not completed.", id)
	}
	return found, err
}

func (s *server) list(w http.ResponseWriter, r *http.Request, world *world) error {
	found, err := s.finished(r.PathValue("id"))
	if err != nil {
		return err
	}
	query := r.URL.Query()
	number := func(name string, otherwise int) int {
		if value, err := strconv.Atoi(query.Get(name)); err == nil {
			return value
		}
		return otherwise
	}
	limit := number("maxResults", 10_000)
	if limit < 100 || limit > 10_000 {
		return invalid("INVALID_PARAMETER_VALUE", "MaxResults must be 100 to 10000.")
	}
	from := number("startingBlockIndex", 0)
	if token := query.Get("pageToken"); token != "" {
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			return invalid("INVALID_PAGE_TOKEN", "The page token is not one of this list.")
		}
		from, _ = strconv.Atoi(string(raw))
	}
	type block struct {
		BlockIndex uint32
		BlockToken string
	}
	shown := map[string]any{
		"ExpiryTime": time.Now().Add(7 * 24 * time.Hour).Unix(), "VolumeSize": found.asked.VolumeSize, "BlockSize": blockSize,
	}
	blocks := []block{}
	for _, index := range indexes(found.all) {
		if int(index) < from {
			continue
		}
		if len(blocks) == limit {
			shown["NextToken"] = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(int(index))))
			break
		}
		blocks = append(blocks, block{index, blockToken(index, found.all[index])})
	}
	shown["Blocks"] = blocks
	time.Sleep(world.latency)
	answer(w, http.StatusOK, shown)
	return nil
}

func blockToken(index uint32, claimed digest) string {
	sum := sha256.Sum256(append([]byte(strconv.Itoa(int(index))), claimed[:]...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (s *server) get(w http.ResponseWriter, r *http.Request, world *world) error {
	found, err := s.finished(r.PathValue("id"))
	if err != nil {
		return err
	}
	_, index, err := s.place(r)
	if err != nil {
		return err
	}
	buffer := s.blocks.Get().(*[]byte)
	defer s.blocks.Put(buffer)
	claimed, err := found.read(index, *buffer)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("blockToken") != blockToken(index, claimed) {
		return invalid("INVALID_BLOCK_TOKEN", "The token is not that of block %d of '%s'.", index, found.id)
	}
	time.Sleep(world.latency)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(blockSize))
	w.Header().Set("x-amz-Data-Length", strconv.Itoa(blockSize))
	w.Header().Set("x-amz-Checksum", base64.StdEncoding.EncodeToString(claimed[:]))
	w.Header().Set("x-amz-Checksum-Algorithm", "SHA256")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(*buffer)
	return nil
}
