// Stand-in for the EBS direct API and the few EC2 calls that uploaders of snapshots make, for benchmarks.
//
// It decides how fast puts are taken, how late answers come and which requests fail, and counts what the clients did.
// It is made to cost little, so that the client is what is measured: by default it reads a block's bytes and forgets
// them. It is not the judge of an uploader: it checks lengths, counts and checksums, but no signature, and it knows no
// eventual consistency and no encryption. It never listens on anything but this machine's own address.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	var wanted settings
	port := flag.Int("port", 0, "port on 127.0.0.1 (0: any that is free)")
	keep := flag.String("keep", "digests", "what stays of the blocks: digests, or data (on disk, in -dir)")
	dir := flag.String("dir", ".", "existing folder for the data and the certificate")
	secure := flag.Bool("tls", false, "HTTPS, with a certificate of its own whose authority is written to -dir/ca.pem")
	flag.Float64Var(&wanted.Rate, "rate", 0, "puts a second (0: no limit)")
	flag.Float64Var(&wanted.Burst, "burst", 100, "puts saved up while nothing is sent")
	latency := flag.Duration("latency", 0, "wait before each answer")
	fail := flag.String("fail", "0%", "share of the puts that fail: 500, 503, cut connections, cut answers")
	flag.Uint64Var(&wanted.Seed, "seed", 1, "which of them do")
	flag.BoolVar(&wanted.Verify, "verify", false, "check each block against its checksum")
	flag.Parse()

	share, err := strconv.ParseFloat(strings.TrimSuffix(*fail, "%"), 64)
	if err != nil || (*keep != "digests" && *keep != "data") || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	wanted.Fail = share / 100
	wanted.LatencyMs = float64(latency.Microseconds()) / 1000

	made := newServer(newStore(*dir, *keep == "data"), wanted)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	counted := &counting{Listener: listener, server: made}
	// HTTP/1.1 alone, as the service speaks it.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	running := &http.Server{Handler: made.routes(), Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
	scheme, serving := "http", net.Listener(counted)
	if *secure {
		certificate, err := certify(*dir)
		if err != nil {
			log.Fatal(err)
		}
		scheme = "https"
		serving = tls.NewListener(counted, &tls.Config{
			Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"},
		})
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, "Stand-in for EBS direct, for benchmarks")
	fmt.Fprintf(out, "%s://%s\n", scheme, listener.Addr())
	_ = out.Flush()
	log.Fatal(running.Serve(serving))
}

// counting counts the connections that clients open.
type counting struct {
	net.Listener
	server *server
}

func (c *counting) Accept() (net.Conn, error) {
	connection, err := c.Listener.Accept()
	if err == nil {
		seen := c.server.now().stats
		seen.mutex.Lock()
		seen.Connections++
		seen.mutex.Unlock()
	}
	return connection, err
}

// showStats is GET /stats: the counters since the last reset, and the snapshots that there are.
func (s *server) showStats(w http.ResponseWriter, _ *http.Request) {
	type line struct {
		Id     string `json:"id"`
		State  string `json:"state"`
		Parent string `json:"parent"`
		GiB    int64  `json:"gib"`
		Own    int    `json:"own"`
		All    int    `json:"all"`
	}
	snapshots := []line{}
	for _, each := range s.store.list() {
		each.mutex.Lock()
		snapshots = append(snapshots, line{each.id, each.state(), each.asked.ParentSnapshotId, each.asked.VolumeSize, len(each.own), len(each.all)})
		each.mutex.Unlock()
	}
	seen := s.now().stats
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	seen.close()
	answer(w, http.StatusOK, struct {
		*stats
		Snapshots []line `json:"snapshots"`
	}{seen, snapshots})
}

// reset is POST /reset: counters at nothing, the bucket full; settings in the body replace what they name. The
// snapshots are forgotten, unless ?snapshots=keep.
func (s *server) reset(w http.ResponseWriter, r *http.Request) {
	wanted := s.now().settings
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil && err != io.EOF {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Query().Get("snapshots") != "keep" {
		s.store.clear()
	}
	s.mutex.Lock()
	s.world = newWorld(wanted)
	s.mutex.Unlock()
	answer(w, http.StatusOK, wanted)
}

// digests is GET /digests/ID: 32 bytes for each block from 0 to the last that the snapshot has; zeros where it has none.
func (s *server) digests(w http.ResponseWriter, r *http.Request) {
	found, err := s.finished(r.PathValue("id"))
	if err != nil {
		s.now().refuse(w, err)
		return
	}
	var out []byte
	for _, index := range indexes(found.all) {
		if end := (int(index) + 1) * len(digest{}); len(out) < end {
			out = append(out, make([]byte, end-len(out))...)
		}
		each := found.all[index]
		copy(out[int(index)*len(digest{}):], each[:])
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out)
}
