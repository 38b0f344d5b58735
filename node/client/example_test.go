package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"headroom/node/client"
	"headroom/node/record"
	"headroom/node/wire"
)

// A cluster on this machine, started with `headroom-node run`, makes
// credentials for clients in its directory. Several seeds are better than
// one: any of them will do.
func ExampleDial() {
	c, err := client.Dial(context.Background(), client.Config{
		Seeds:       []string{"10.0.0.1:4300", "10.0.0.2:4300"},
		Credentials: "/etc/headroom/client",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, m := range c.Members() {
		fmt.Println(m.Node, m.Addr)
	}
}

func ExampleClient_Put() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	key := client.Key{Set: "users", Value: record.Int(7)}
	err = c.Put(ctx, key, []record.Bin{
		{Name: "name", Value: record.String("Ada")},
		{Name: "logins", Value: record.Int(1)},
	}, client.WithTTL(24*time.Hour))
	switch {
	case errors.Is(err, client.ErrInDoubt):
		// It may have been written. Read it, or put it again.
	case err != nil:
		log.Fatal(err) // not written
	}
	rec, err := c.Get(ctx, key)
	if err != nil {
		log.Fatal(err)
	}
	for bin := range rec.Bins.All() {
		fmt.Println(bin.Name, bin.Value)
	}
}

// Read, change, and write back only if nobody else wrote in between.
func ExampleWithGeneration() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, key := context.Background(), client.Key{Set: "accounts", Value: record.String("ada")}
	for {
		rec, err := c.Get(ctx, key)
		if err != nil {
			log.Fatal(err)
		}
		v, _ := rec.Get("balance")
		balance, _ := v.Int()
		err = c.Put(ctx, key, []record.Bin{{Name: "balance", Value: record.Int(balance * 2)}}, client.WithGeneration(rec.Generation))
		if !errors.Is(err, client.ErrGeneration) {
			break // written, failed or in doubt
		}
	}
}

// Several operations on one record, atomically and in one round trip.
func ExampleClient_Operate() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	rec, err := c.Operate(context.Background(), client.Key{Set: "users", Value: record.Int(7)}, []record.Op{
		{Kind: record.OpAdd, Bin: "logins", Value: record.Int(1)},
		{Kind: record.OpRead, Bin: "logins"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("logins:", rec.Results[0].Value)
}

func ExampleClient_BatchGet() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	keys := []client.Key{{Set: "users", Value: record.Int(1)}, {Set: "users", Value: record.Int(2)}}
	results, err := c.BatchGet(context.Background(), keys)
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range results {
		switch {
		case errors.Is(r.Err, client.ErrNotFound):
			fmt.Println(keys[i].Value, "does not exist")
		case r.Err != nil:
			log.Println(r.Err)
		default:
			fmt.Println(keys[i].Value, r.Record.Generation)
		}
	}
}

// A scan that fails is resumed at the partition it names.
func ExampleClient_Scan() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	seen := 0
	err = c.Scan(context.Background(), "users", func(client.Record) error { seen++; return nil })
	var e *client.ScanError
	if errors.As(err, &e) {
		err = c.Scan(context.Background(), "users", func(client.Record) error { seen++; return nil },
			client.WithPartitions(e.Partition, 4096-e.Partition))
	}
	fmt.Println(seen, err)
}

// A load generator keeps its Calls and lets them go round: 64 are always in
// flight, and nothing is allocated per operation.
func ExampleClient_Submit() {
	c, err := client.Dial(context.Background(), client.Config{Seeds: []string{"127.0.0.1:4300"}, Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	namespace, err := c.NamespaceIndex("default")
	if err != nil {
		log.Fatal(err)
	}
	var wg sync.WaitGroup
	calls := make([]client.Call, 64)
	for i := range calls {
		left := 1000 // of this call; Done is never called twice at a time for one Call
		call := &calls[i]
		call.Kind, call.Namespace = wire.KindGet, namespace
		call.Done = func(call *client.Call) {
			// Record call.Completed - call.Submitted and call.Err here.
			if left--; left == 0 || c.Submit(call) != nil {
				wg.Done()
			}
		}
		key, err := client.NewKey("users", record.Int(int64(i)))
		if err != nil {
			log.Fatal(err)
		}
		call.Digest, _ = key.Digest()
		wg.Add(1)
		if err := c.Submit(call); err != nil {
			wg.Done()
		}
	}
	wg.Wait()
}

func ExampleNewKey() {
	key, err := client.NewKey("users", record.Int(7))
	if err != nil {
		log.Fatal(err)
	}
	digest, _ := key.Digest()
	fmt.Printf("%x, partition %d\n", digest, digest.Partition())
	// Output: 735a5b8d695b4941d5de9e3f873e2f3288e4da62, partition 2675
}
