// Package live reads task hubs in Azure Storage. It is the only package that
// talks to the service.
//
// Start with [ParseConnectionString] or a [Config], then [Open] one hub, which
// is a [hub.Reader], or list what an account holds:
//
//	cfg, err := live.ParseConnectionString(os.Getenv("AzureWebJobsStorage"))
//	…
//	h, err := live.Open(ctx, cfg, hub.Names{TaskHub: "LabHub"}, live.Options{})
//	…
//	defer h.Close()
//	info, err := h.Info(ctx)
//
// A [Hub] or [Account] cannot change storage: every request is a GET or HEAD,
// messages are peeked and never received, and a hub that does not exist is not
// created. Only a [Writer], an [Editor] and a [Receiver] can.
//
// The SDK signs requests and repeats failed ones. Errors are [*RequestError]:
// they name the request, wrap the sentinels of package hub, and hold neither
// account keys nor signatures.
//
// Limits: peeking shows the first 32 visible messages of a queue. The emulator,
// unlike the service, does not find tables whose name is given in another case.
// A container or table can change while it is listed: each page is of its own
// time.
package live
