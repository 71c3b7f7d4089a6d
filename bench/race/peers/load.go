// A load on etcd: load ENDPOINTS WORK CONNECTIONS IN_FLIGHT SECONDS VALUE_BYTES COUNT FAILOVER.
//
// Each connection keeps IN_FLIGHT requests on their way through etcd's own client. WORK is set, create, get, get-local
// (serializable), mixed (90 % get), cas, handoffs (of one contended lock, a contender each), watch-one / watch-own: CONNECTIONS
// clients with IN_FLIGHT watches each, or hold: IN_FLIGHT leases kept alive by each until the input ends. It ends after SECONDS, or after COUNT requests if that is not 0. Each client stays at one member, or with FAILOVER 1 knows them all. Prints one
// line of JSON.
package main

import (
	"context"
	"fmt"
	"io/ioutil"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

const keys = 1000

type load struct {
	clients    []*clientv3.Client
	work       string
	inFlight   int
	value      string
	count      int64
	root       string
	asked      int64
	done       int64
	errors     int64
	lastDone   int64
	longestGap int64
	measuring  int32
	stopping   int32
	holders    int32
	releasedAt int64 // since started, in ns
	started    time.Time
	mutex      sync.Mutex
	latencies  []float64 // ms
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func (l *load) answered(began time.Time, err error) float64 {
	if atomic.LoadInt32(&l.measuring) == 0 {
		return -1
	}
	if err != nil {
		atomic.AddInt64(&l.errors, 1)
		return -1
	}
	now := time.Now()
	atomic.AddInt64(&l.done, 1)
	gap := now.UnixNano() - atomic.SwapInt64(&l.lastDone, now.UnixNano())
	for {
		longest := atomic.LoadInt64(&l.longestGap)
		if gap <= longest || atomic.CompareAndSwapInt64(&l.longestGap, longest, gap) {
			break
		}
	}
	return float64(now.Sub(began).Microseconds()) / 1000
}

// slot is one of a connection's requests: it asks again as soon as it is answered.
func (l *load) slot(client *clientv3.Client, number int, over *sync.WaitGroup) {
	defer over.Done()
	random := rand.New(rand.NewSource(int64(number)))
	own := fmt.Sprintf("%s/own-%d", l.root, number)
	var took []float64
	var revision int64
	if l.work == "cas" {
		answer, err := client.Put(context.Background(), own, l.value)
		fail(err)
		revision = answer.Header.Revision
	}
	for asked := 0; atomic.LoadInt32(&l.stopping) == 0; asked++ {
		if l.count > 0 && atomic.AddInt64(&l.asked, 1) > l.count {
			break
		}
		key := fmt.Sprintf("%s/%d", l.root, random.Intn(keys))
		work := l.work
		if work == "mixed" {
			work = "get"
			if random.Intn(10) == 0 {
				work = "set"
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		began := time.Now()
		var err error
		switch work {
		case "create":
			_, err = client.Put(ctx, fmt.Sprintf("%s-%d", own, asked), l.value)
		case "get":
			_, err = client.Get(ctx, key)
		case "get-local":
			_, err = client.Get(ctx, key, clientv3.WithSerializable())
		case "cas":
			var answer *clientv3.TxnResponse
			same := clientv3.Compare(clientv3.ModRevision(own), "=", revision)
			answer, err = client.Txn(ctx).If(same).Then(clientv3.OpPut(own, l.value)).Commit()
			if err == nil {
				revision = answer.Header.Revision
			}
		default:
			_, err = client.Put(ctx, key, l.value)
		}
		cancel()
		if ms := l.answered(began, err); ms >= 0 {
			took = append(took, ms)
		}
	}
	l.mutex.Lock()
	l.latencies = append(l.latencies, took...)
	l.mutex.Unlock()
}

// contender claims the lock of etcd's own library, and gives it up as soon as it has it. A hand-over is from the call that gives it
// up until the next one knows that it has it.
func (l *load) contender(client *clientv3.Client, over *sync.WaitGroup) {
	defer over.Done()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
	fail(err)
	lock := concurrency.NewMutex(session, l.root+"/lock")
	for atomic.LoadInt32(&l.stopping) == 0 {
		fail(lock.Lock(context.Background()))
		var err error
		if atomic.AddInt32(&l.holders, 1) != 1 {
			err = fmt.Errorf("two holders")
		}
		if ms := l.answered(l.started.Add(time.Duration(atomic.LoadInt64(&l.releasedAt))), err); ms >= 0 {
			l.mutex.Lock()
			l.latencies = append(l.latencies, ms)
			l.mutex.Unlock()
		}
		atomic.AddInt32(&l.holders, -1)
		atomic.StoreInt64(&l.releasedAt, int64(time.Since(l.started)))
		fail(lock.Unlock(context.Background()))
	}
}

// hold keeps IN_FLIGHT leases of each client alive (etcd's sessions), and says so, until the input ends.
func (l *load) hold() {
	var opened sync.WaitGroup
	for w := 0; w < 64; w++ {
		opened.Add(1)
		go func(w int) {
			defer opened.Done()
			for c := w; c < len(l.clients); c += 64 {
				for i := 0; i < l.inFlight; i++ {
					lease, err := l.clients[c].Grant(context.Background(), 30) // kept alive every 10 s
					fail(err)
					kept, err := l.clients[c].KeepAlive(context.Background(), lease.ID)
					fail(err)
					go func() {
						for range kept {
						}
						fmt.Fprintln(os.Stderr, "a lease was lost")
						os.Exit(2)
					}()
				}
			}
		}(w)
	}
	opened.Wait()
	fmt.Println("held")
	ioutil.ReadAll(os.Stdin)
	os.Exit(0)
}

func (l *load) requests(seconds float64) float64 {
	var over sync.WaitGroup
	began := time.Now()
	atomic.StoreInt64(&l.lastDone, began.UnixNano())
	if l.count > 0 {
		atomic.StoreInt32(&l.measuring, 1)
	}
	number := 0
	for _, client := range l.clients {
		if l.work == "handoffs" {
			over.Add(1)
			go l.contender(client, &over)
			continue
		}
		for i := 0; i < l.inFlight; i++ {
			over.Add(1)
			go l.slot(client, number, &over)
			number++
		}
	}
	if l.count > 0 {
		over.Wait()
		return time.Since(began).Seconds()
	}
	time.Sleep(time.Duration(1.5 * float64(time.Second)))
	began = time.Now()
	atomic.StoreInt64(&l.lastDone, began.UnixNano())
	atomic.StoreInt32(&l.measuring, 1)
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	atomic.StoreInt32(&l.measuring, 0)
	took := time.Since(began).Seconds()
	atomic.StoreInt32(&l.stopping, 1)
	over.Wait()
	return took
}

// watches: each client watches IN_FLIGHT keys (the very same one, or each its own); one writer sets them; each event is counted.
func (l *load) watches(seconds float64) float64 {
	watched := len(l.clients) * l.inFlight
	var awaited, sentAt int64
	for c, client := range l.clients {
		for i := 0; i < l.inFlight; i++ {
			key := fmt.Sprintf("%s/%d", l.root, 0)
			if l.work == "watch-own" {
				key = fmt.Sprintf("%s/%d", l.root, c*l.inFlight+i)
			}
			events := client.Watch(context.Background(), key, clientv3.WithCreatedNotify())
			<-events
			go func() {
				for range events {
					ms := l.answered(time.Unix(0, atomic.LoadInt64(&sentAt)), nil)
					l.mutex.Lock()
					l.latencies = append(l.latencies, ms)
					l.mutex.Unlock()
					atomic.AddInt64(&awaited, -1)
				}
			}()
		}
	}
	began := time.Now()
	atomic.StoreInt64(&l.lastDone, began.UnixNano())
	atomic.StoreInt32(&l.measuring, 1)
	end := began.Add(time.Duration(seconds * float64(time.Second)))
	for time.Now().Before(end) {
		atomic.StoreInt64(&awaited, int64(watched))
		atomic.StoreInt64(&sentAt, time.Now().UnixNano())
		if l.work == "watch-one" {
			_, err := l.clients[0].Put(context.Background(), l.root+"/0", l.value)
			fail(err)
		} else {
			var over sync.WaitGroup
			for w := 0; w < 64; w++ {
				over.Add(1)
				go func(w int) {
					defer over.Done()
					for k := w; k < watched; k += 64 {
						_, err := l.clients[k%len(l.clients)].Put(context.Background(), fmt.Sprintf("%s/%d", l.root, k), l.value)
						fail(err)
					}
				}(w)
			}
			over.Wait()
		}
		for atomic.LoadInt64(&awaited) > 0 && time.Now().Before(end.Add(10*time.Second)) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	atomic.StoreInt32(&l.measuring, 0)
	return time.Since(began).Seconds()
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	fail(err)
	return value
}

func main() {
	args := os.Args[1:]
	endpoints := strings.Split(args[0], ",")
	connections := number(args[2])
	seconds, err := strconv.ParseFloat(args[4], 64)
	fail(err)
	value := make([]byte, number(args[5]))
	rand.Read(value)
	l := &load{work: args[1], inFlight: number(args[3]), value: string(value), count: int64(number(args[6])), root: fmt.Sprintf("/load-%d", time.Now().UnixNano()), started: time.Now()}
	for i := 0; i < connections; i++ {
		at := i % len(endpoints)
		known := endpoints[at : at+1]
		if args[7] == "1" {
			known = endpoints
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: known, DialTimeout: 10 * time.Second})
		fail(err)
		l.clients = append(l.clients, client)
	}
	if l.work == "hold" {
		l.hold()
	}
	prepared := keys
	watching := strings.HasPrefix(l.work, "watch")
	if l.work == "watch-own" {
		prepared = connections * l.inFlight
	}
	var over sync.WaitGroup
	for w := 0; w < 64; w++ {
		over.Add(1)
		go func(w int) {
			defer over.Done()
			for k := w; k < prepared; k += 64 {
				_, err := l.clients[k%connections].Put(context.Background(), fmt.Sprintf("%s/%d", l.root, k), l.value)
				fail(err)
			}
		}(w)
	}
	over.Wait()
	var took float64
	if watching {
		took = l.watches(seconds)
	} else {
		took = l.requests(seconds)
	}
	l.mutex.Lock()
	sort.Float64s(l.latencies)
	part := func(share float64) float64 {
		if len(l.latencies) == 0 {
			return 0
		}
		at := int(float64(len(l.latencies)) * share)
		if at >= len(l.latencies) {
			at = len(l.latencies) - 1
		}
		return l.latencies[at]
	}
	fmt.Printf("{\"done\": %d, \"errors\": %d, \"rate_per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"longest_gap_ms\": %.1f}\n",
		l.done, l.errors, float64(l.done)/took, part(0.5), part(0.99), part(0.999), float64(l.longestGap)/1e6)
}
