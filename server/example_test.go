package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/server"
)

func ExampleNew() {
	capture, err := snapshot.Open("../testdata/hubs/functions-3.taskhub", snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer capture.Close()
	s, err := server.New(context.Background(), server.Options{
		Hubs: []server.Hub{{Reader: capture}},
		Now:  time.Now,
		Wait: func(ctx context.Context, d time.Duration) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(d):
				return nil
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/instances/timer-short", "/entities/counter/c1", "/instances/nobody"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, server.DefaultBasePath+path, nil))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 {"name":"WithTimer","instanceId":"timer-short","runtimeStatus":"Completed","input":1,"customStatus":null,"output":"timer done","createdTime":"2026-11-22T04:08:24Z","lastUpdatedTime":"2026-11-22T04:08:24Z"}
	// 200 {"currentValue":10}
	// 404
}
