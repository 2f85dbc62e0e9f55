package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

const (
	blockSize    = 512 * 1024
	blocksAGiB   = 2048
	maxGiB       = 64 * 1024
	maxPending   = 100
	maxTokenSize = 64
)

type digest = [sha256.Size]byte

// refusal is an error as the API tells it.
type refusal struct {
	status  int
	code    string
	reason  string
	message string
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func invalid(reason, format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, "ValidationException", reason, fmt.Sprintf(format, args...)}
}

func notFound(id string) *refusal {
	return &refusal{http.StatusNotFound, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", "The snapshot '" + id + "' does not exist."}
}

// startRequest is the body of StartSnapshot.
type startRequest struct {
	VolumeSize       int64
	ParentSnapshotId string
	Tags             []tag
	Description      string
	ClientToken      string
	Encrypted        bool
	KmsKeyArn        string
	Timeout          int64
}

type tag struct{ Key, Value string }

type snapshot struct {
	id      string
	asked   startRequest
	started time.Time
	parent  *snapshot

	mutex sync.Mutex
	done  bool
	own   map[uint32]digest // what was put into this snapshot itself
	all   map[uint32]digest // once it is done: also what it inherits
	data  *os.File          // block n at n * blockSize; nil if only digests are kept
}

func (s *snapshot) state() string {
	if s.done {
		return "completed"
	}
	return "pending"
}

// store is all the snapshots of the one account.
type store struct {
	mutex     sync.Mutex
	dir       string
	keepData  bool
	serial    uint32
	snapshots map[string]*snapshot
}

func newStore(dir string, keepData bool) *store {
	return &store{dir: dir, keepData: keepData, snapshots: map[string]*snapshot{}}
}

// clear forgets everything, and removes the data.
func (s *store) clear() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for id := range s.snapshots {
		s.drop(id)
	}
}

func (s *store) drop(id string) {
	if data := s.snapshots[id].data; data != nil {
		_ = os.Remove(data.Name()) // it stays open for the children, who read through it
	}
	delete(s.snapshots, id)
}

func (s *store) find(id string) (*snapshot, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if found := s.snapshots[id]; found != nil {
		return found, nil
	}
	return nil, notFound(id)
}

// list is every snapshot, oldest first.
func (s *store) list() []*snapshot {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	all := make([]*snapshot, 0, len(s.snapshots))
	for _, each := range s.snapshots {
		all = append(all, each)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	return all
}

func (s *store) start(asked startRequest) (*snapshot, error) {
	if asked.VolumeSize < 1 || asked.VolumeSize > maxGiB {
		return nil, invalid("INVALID_VOLUME_SIZE", "VolumeSize must be 1 to %d GiB.", maxGiB)
	}
	if len(asked.ClientToken) > maxTokenSize {
		return nil, invalid("INVALID_PARAMETER_VALUE", "ClientToken has at most %d characters.", maxTokenSize)
	}
	if asked.ParentSnapshotId != "" && asked.Encrypted {
		return nil, invalid("INVALID_PARAMETER_VALUE", "Encrypted and ParentSnapshotId exclude each other.")
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	pending := 0
	for _, each := range s.snapshots {
		if !each.done {
			pending++
		}
		if asked.ClientToken != "" && each.asked.ClientToken == asked.ClientToken {
			before, _ := json.Marshal(each.asked)
			now, _ := json.Marshal(asked)
			if !bytes.Equal(before, now) {
				return nil, &refusal{http.StatusConflict, "ConflictException", "", "The client token was used with other parameters."}
			}
			return each, nil
		}
	}
	if pending >= maxPending {
		return nil, &refusal{http.StatusBadRequest, "ConcurrentLimitExceededException", "", "Too many pending snapshots."}
	}
	var parent *snapshot
	if asked.ParentSnapshotId != "" {
		parent = s.snapshots[asked.ParentSnapshotId]
		if parent == nil {
			return nil, notFound(asked.ParentSnapshotId)
		}
		if !parent.done || parent.asked.VolumeSize > asked.VolumeSize {
			return nil, invalid("INVALID_PARAMETER_VALUE", "The parent is not finished, or larger than the volume.")
		}
	}
	s.serial++
	made := &snapshot{
		id: fmt.Sprintf("snap-%05x%012x", os.Getpid()&0xfffff, s.serial), asked: asked, started: time.Now().UTC(), parent: parent, own: map[uint32]digest{},
	}
	if s.keepData {
		file, err := os.Create(filepath.Join(s.dir, made.id))
		if err != nil {
			return nil, err
		}
		made.data = file
	}
	s.snapshots[made.id] = made
	return made, nil
}

// put notes (and, if data is kept, writes) a block. It says whether the block is new.
func (s *snapshot) put(index uint32, claimed digest, block []byte) (bool, error) {
	if s.data != nil {
		if _, err := s.data.WriteAt(block, int64(index)*blockSize); err != nil {
			return false, err
		}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.done {
		return false, invalid("INVALID_SNAPSHOT_ID", "The snapshot '%s' is not pending.", s.id)
	}
	_, again := s.own[index]
	s.own[index] = claimed
	return !again, nil
}

// complete completes it, if count and (where given) the LINEAR checksum are those of what was put.
func (s *snapshot) complete(count int, checksum *digest) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.done {
		return invalid("INVALID_SNAPSHOT_ID", "The snapshot '%s' is not pending.", s.id)
	}
	if count != len(s.own) {
		return invalid("UNMATCHED_CHANGED_BLOCKS_COUNT", "%d blocks were put, not %d.", len(s.own), count)
	}
	if checksum != nil && linear(s.own) != *checksum {
		return invalid("INVALID_PARAMETER_VALUE", "The LINEAR checksum is not that of the blocks.")
	}
	s.all = s.own
	if s.parent != nil {
		s.all = make(map[uint32]digest, len(s.parent.all)+len(s.own))
		for index, each := range s.parent.all {
			s.all[index] = each
		}
		for index, each := range s.own {
			s.all[index] = each
		}
	}
	s.done = true
	return nil
}

// read reads a block of a finished snapshot, from whichever ancestor has it.
func (s *snapshot) read(index uint32, block []byte) (digest, error) {
	for at := s; at != nil; at = at.parent {
		claimed, here := at.own[index]
		if !here {
			continue
		}
		if at.data == nil {
			return digest{}, &refusal{http.StatusNotImplemented, "UnknownOperationException", "", "Started without -keep data."}
		}
		_, err := at.data.ReadAt(block, int64(index)*blockSize)
		return claimed, err
	}
	return digest{}, &refusal{http.StatusNotFound, "ResourceNotFoundException", "", "The snapshot has no such block."}
}

func indexes(blocks map[uint32]digest) []uint32 {
	sorted := make([]uint32, 0, len(blocks))
	for index := range blocks {
		sorted = append(sorted, index)
	}
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	return sorted
}

// linear is the checksum of the checksums in the order of the blocks.
func linear(blocks map[uint32]digest) digest {
	sum := sha256.New()
	for _, index := range indexes(blocks) {
		each := blocks[index]
		sum.Write(each[:])
	}
	return digest(sum.Sum(nil))
}

func (s *store) remove(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.drop(id)
}

// retag gives a snapshot a tag, or takes the tag of that key away.
func (s *store) retag(tagged *snapshot, given tag, create bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	kept := []tag{}
	for _, each := range tagged.asked.Tags {
		if each.Key != given.Key {
			kept = append(kept, each)
		}
	}
	if create {
		kept = append(kept, given)
	}
	tagged.asked.Tags = kept
}
