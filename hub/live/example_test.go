package live_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
)

func ExampleOpen() {
	ctx := context.Background()
	cfg, err := live.ParseConnectionString(os.Getenv("AzureWebJobsStorage"))
	if err != nil {
		log.Fatal(err)
	}
	h, err := live.Open(ctx, cfg, hub.Names{TaskHub: "LabHub"}, live.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	info, err := h.Info(ctx)
	if errors.Is(err, hub.ErrNotFound) {
		log.Fatal("there is no such hub, and now there still is none")
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.PartitionCount, "partitions")
	for row, err := range h.Rows(ctx, hub.Instances, hub.Keys{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.PartitionKey)
	}
}

func ExampleAccount_Hubs() {
	ctx := context.Background()
	cfg := live.Config{Account: "mystorage", Identity: live.Identity{Kind: live.DefaultIdentity}}
	a, err := live.OpenAccount(ctx, cfg, live.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	hubs, err := a.Hubs(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hubs {
		fmt.Println(h.Names.TaskHub, h.ControlQueues, h.Missing)
	}
}
