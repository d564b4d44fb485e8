package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/server"
)

// Options of serve.
const (
	optListen      = "listen"
	optPublicURL   = "public-url"
	optKey         = "key"
	optKeyFile     = "key-file"
	optCertificate = "tls-cert"
	optPrivateKey  = "tls-key"
	optReadOnly    = "read-only"
	optRedact      = "redact"
	optAllHubs     = "all-hubs"
	optFunction    = "function"
	optEntity      = "entity"
	optMaxBody     = "max-body"
	optMaxRequests = "max-requests"
	optRequestLog  = "request-log"
	optLogFormat   = "log-format"

	// keyVariable holds the key, for scripts that do not want it to be seen in the
	// list of processes.
	keyVariable = "TASKHUB_SERVE_KEY"

	categoryHTTP   = "server: where and for whom"
	categoryLimits = "server: limits and log"
)

// weakKey is a key that a program could try out.
const weakKey = 16

func serveCommand() *cli.Command {
	http := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Category: categoryHTTP, Name: name, Usage: usage}
	}
	return commandWith(serveSourceFlags(), &cli.Command{
		Name:  "serve",
		Usage: "serve the HTTP API of Durable Functions over hubs, and a page to look at them",
		Description: description(
			"Answers the HTTP API that the Durable Functions extension has in a running app, so that\n"+
				"existing clients, scripts and dashboards work on a hub whose app is off, or on a capture; and\n"+
				"shows the hubs on a page for the browser. A hub in an account can be operated that way, unless\n"+
				"--read-only says no; nothing of a capture changes. Only this machine can connect, unless\n"+
				"--listen says otherwise, and then every request has to give a key. Ctrl-C ends it: requests\n"+
				"that are worked on are finished. docs/serve.md says more.",
			[]string{
				"taskhub serve --snapshot orders.taskhub",
				"taskhub serve --account contosoprod --task-hub-name Orders --read-only",
				"taskhub serve --task-hub-name Orders --listen :8443 --key-file /run/secrets/key --tls-cert tls.crt --tls-key tls.key",
			},
			exitDone, exitFailed, exitUsage, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Category: categoryHTTP, Name: optListen, Value: "127.0.0.1:7071", Usage: "the `ADDRESS:PORT` to listen on; port 0 takes a free one"},
			http(optPublicURL, "the `URL` by which clients reach the server, if a proxy stands before it, such as https://hubs.example.org"),
			http(optKey, "requests have to give `KEY`, which others on this machine can see here: prefer --"+optKeyFile),
			http(optKeyFile, "requests have to give the key in `FILE`; also the environment variable "+keyVariable),
			http(optCertificate, "speak TLS with the certificate in `FILE` (PEM) and the key of --"+optPrivateKey),
			http(optPrivateKey, "the private key of the certificate, in `FILE` (PEM)"),
			&cli.BoolFlag{Category: categoryHTTP, DisableDefaultText: true, Name: optReadOnly, Usage: "refuse what would change a hub"},
			&cli.BoolFlag{Category: categoryHTTP, DisableDefaultText: true, Name: optRedact, Usage: "show length and SHA-256 in place of inputs, outputs and other payloads"},
			&cli.StringSliceFlag{Category: categoryHTTP, Name: optFunction, Usage: "only orchestrations of the function `NAME` can be started; may be repeated"},
			&cli.StringSliceFlag{Category: categoryHTTP, Name: optEntity, Usage: "only entities called `NAME` can be signalled; may be repeated"},
			&cli.StringFlag{Category: categoryLimits, Name: optMaxBody, Value: "16MiB", Usage: "longest body of a request, `SIZE`"},
			maxPayloadFlag(),
			&cli.IntFlag{Category: categoryLimits, Name: optMaxRequests, Value: server.DefaultMaxRequests, Usage: "work on `N` requests at once; others wait"},
			&cli.BoolFlag{Category: categoryLimits, DisableDefaultText: true, Name: optRequestLog, Usage: "log each request on stderr, without key and payloads"},
			&cli.StringFlag{Category: categoryLimits, Name: optLogFormat, Value: "text", Usage: "log as `FORMAT`: text or json"},
		},
	}, runServe)
}

// serveReport is what serve --json prints when it begins; docs/json.md describes it.
type serveReport struct {
	Type        string            `json:"type"`
	URL         string            `json:"url"`
	API         string            `json:"api"`
	Hubs        []servedHubReport `json:"hubs"`
	KeyRequired bool              `json:"key_required"`
	TLS         bool              `json:"tls"`
	Redacted    bool              `json:"redacted"`
}

type servedHubReport struct {
	TaskHub    string `json:"task_hub"`
	Connection string `json:"connection"`
	Account    string `json:"account"`
	Snapshot   string `json:"snapshot,omitempty"`
	ReadOnly   bool   `json:"read_only"`
}

func runServe(s *session) error {
	opts, err := s.serveOptions()
	if err != nil {
		return err
	}
	if err := s.checkServeSource(); err != nil {
		return err
	}
	l, err := s.listen(opts.Key)
	if err != nil {
		return err
	}
	return errors.Join(s.withServed(&opts, func(hubs []*servedHub) error { return s.serve(l, opts, hubs) }), closed(l))
}

// closed closes a listener, which the server may have done already.
func closed(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serveOptions reads the options that are not about hubs.
func (s *session) serveOptions() (server.Options, error) {
	opts := server.Options{
		PublicURL: s.String(optPublicURL), ReadOnly: s.Bool(optReadOnly), Redact: s.Bool(optRedact),
		MaxRequests: s.Int(optMaxRequests), Now: time.Now, Wait: sleep,
	}
	if opts.MaxRequests < 1 {
		return opts, s.usagef("option --%s: must be at least 1", optMaxRequests)
	}
	var err error
	if opts.MaxBodyBytes, err = s.size(optMaxBody); err != nil {
		return opts, err
	}
	if opts.MaxPayloadBytes, err = s.size(optMaxPayload); err != nil {
		return opts, err
	}
	if opts.Functions, err = s.nonEmpty(optFunction); err != nil {
		return opts, err
	}
	if opts.Entities, err = s.nonEmpty(optEntity); err != nil {
		return opts, err
	}
	if s.IsSet(optPublicURL) {
		u, err := url.Parse(opts.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return opts, s.usagef("option --%s: %q is not of the form https://hubs.example.org", optPublicURL, opts.PublicURL)
		}
	}
	if opts.Key, err = s.serveKey(); err != nil {
		return opts, err
	}
	if opts.Certificate, err = s.certificate(); err != nil {
		return opts, err
	}
	format, err := oneOf(s, optLogFormat, "text", "json")
	if err != nil {
		return opts, err
	}
	var handler slog.Handler = slog.NewTextHandler(s.stderr, nil)
	if format == "json" || s.json && !s.IsSet(optLogFormat) {
		handler = slog.NewJSONHandler(s.stderr, nil)
	}
	opts.Logger = slog.New(handler)
	if s.Bool(optRequestLog) {
		opts.RequestLog = opts.Logger
	}
	return opts, nil
}

// sleep waits for a time, and returns the cause when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serveKey returns the key that requests have to give; empty if none is set.
func (s *session) serveKey() (server.Key, error) {
	var key, from string
	switch {
	case s.IsSet(optKey) && s.IsSet(optKeyFile):
		return "", s.usagef("--%s and --%s contradict each other", optKey, optKeyFile)
	case s.IsSet(optKey):
		key, from = s.String(optKey), "option --"+optKey
	case s.IsSet(optKeyFile):
		text, err := readKeyFile(s.String(optKeyFile))
		if err != nil {
			return "", fmt.Errorf("option --%s: %w", optKeyFile, err)
		}
		key, from = strings.TrimSpace(text), "the file of option --"+optKeyFile
	default:
		if key = os.Getenv(keyVariable); key == "" {
			return "", nil
		}
		from = "environment variable " + keyVariable
	}
	switch {
	case key == "":
		return "", s.usagef("%s is empty, and would be a key that everybody has", from)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", s.usagef("%s: a key is one word of printable ASCII characters", from)
	}
	return server.Key(key), nil
}

// readKeyFile reads a short file.
func readKeyFile(path string) (string, error) {
	const most = 4 << 10
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	buf := make([]byte, most+1)
	n := 0
	for n < len(buf) {
		k, err := f.Read(buf[n:])
		if n += k; err != nil || k == 0 {
			break
		}
	}
	if n > most {
		return "", fmt.Errorf("%s is longer than a key can be", path)
	}
	return string(buf[:n]), nil
}

// certificate returns what the server proves with who it is; nil if it does not.
func (s *session) certificate() (*tls.Certificate, error) {
	switch {
	case !s.IsSet(optCertificate) && !s.IsSet(optPrivateKey):
		return nil, nil
	case !s.IsSet(optCertificate) || !s.IsSet(optPrivateKey):
		return nil, s.usagef("--%s and --%s belong together", optCertificate, optPrivateKey)
	}
	c, err := tls.LoadX509KeyPair(s.String(optCertificate), s.String(optPrivateKey))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if c.Leaf != nil && time.Now().After(c.Leaf.NotAfter) {
		s.advise("the certificate in %s has expired at %s: clients will refuse it", s.String(optCertificate), c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &c, nil
}

// advise tells of something that is not as it should be, but that nothing is left
// out for.
func (s *session) advise(format string, args ...any) {
	message(s.stderr, s.json, "warning", 0, fmt.Sprintf(format, args...), "")
}

// listen opens the port, unless others could connect and no key kept them out.
func (s *session) listen(key server.Key) (net.Listener, error) {
	address := s.String(optListen)
	_, port, err := net.SplitHostPort(address)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return nil, s.usagef("option --%s: %q is not of the form ADDRESS:PORT, such as 127.0.0.1:7071", optListen, address)
	}
	l, err := new(net.ListenConfig).Listen(s.ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if server.IsLocal(l.Addr()) {
		return l, nil
	}
	if key == "" {
		return nil, errors.Join(s.usagef("--%s %s lets other machines connect, so a key is needed: put one into a file, as with \"openssl rand -hex 32\", "+
			"and name it with --%s, or set %s", optListen, address, optKeyFile, keyVariable), l.Close())
	}
	if len(key) < weakKey {
		s.advise("the key has only %s: others could find it by trying", ui.Plural(int64(len(key)), "character", "characters"))
	}
	if !s.IsSet(optCertificate) && !strings.HasPrefix(s.String(optPublicURL), "https:") {
		s.advise("key and data cross the network unencrypted: give --%s and --%s, or put a proxy with TLS before it and name it with --%s",
			optCertificate, optPrivateKey, optPublicURL)
	}
	return l, nil
}

// serve answers requests until the program is told to end.
func (s *session) serve(l net.Listener, opts server.Options, hubs []*servedHub) error {
	srv, err := server.New(s.ctx, opts)
	if err != nil {
		return err
	}
	if s.IsSet(optKey) {
		s.advise("--%s can be seen in the list of processes: prefer --%s or %s", optKey, optKeyFile, keyVariable)
	}
	if err := s.announce(l.Addr(), &opts, hubs); err != nil {
		return err
	}
	told := make(chan struct{})
	notTold := context.AfterFunc(s.ctx, func() {
		_ = s.tell("ending: requests that are worked on have %v", server.DefaultGrace) // it ends all the same
		close(told)
	})
	err = srv.Serve(s.ctx, l)
	if !notTold() {
		<-told
	}
	return err
}

// announce says what is served, and where.
func (s *session) announce(a net.Addr, opts *server.Options, hubs []*servedHub) error {
	base := s.reachableAt(a, opts)
	if s.json {
		report := serveReport{
			Type: "serving", URL: base + "/", API: base + server.DefaultBasePath,
			KeyRequired: opts.Key != "", TLS: opts.Certificate != nil, Redacted: opts.Redact,
		}
		for _, h := range hubs {
			report.Hubs = append(report.Hubs, h.report(opts.ReadOnly))
		}
		return errors.Join(writeJSON(s.stdout, report), s.stdout.Flush())
	}
	for _, h := range hubs {
		if err := s.tell("hub %s", h.describe(opts.ReadOnly, len(hubs) > 1)); err != nil {
			return err
		}
	}
	who := "only this machine can connect"
	if !server.IsLocal(a) {
		who = "other machines can connect"
	}
	if opts.Key != "" {
		who += "; every request needs the key"
		if server.IsLocal(a) && opts.PublicURL == "" {
			who = "only this machine can connect, and needs the key but under /durabletask/"
		}
	}
	if opts.Redact {
		who += "; payloads are not shown"
	}
	if err := s.tell("page  %s/", base); err != nil {
		return err
	}
	if err := s.tell("API   %s%s", base, server.DefaultBasePath); err != nil {
		return err
	}
	return s.tell("%s. Ctrl-C ends it.", who)
}

// reachableAt returns the origin by which clients reach the server.
func (s *session) reachableAt(a net.Addr, opts *server.Options) string {
	if opts.PublicURL != "" {
		return strings.TrimRight(opts.PublicURL, "/")
	}
	scheme := "http"
	if opts.Certificate != nil {
		scheme = "https"
	}
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return scheme + "://" + a.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() { // all addresses: none that can be dialled elsewhere
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	if given, _, err := net.SplitHostPort(s.String(optListen)); err == nil && given != "" && net.ParseIP(given) == nil {
		host = given // a name, which a certificate may be for
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// serveSourceFlags are those of every command, but several hubs can be named.
func serveSourceFlags() []cli.Flag {
	flags := sourceFlags()
	for i, f := range flags {
		text, ok := f.(*cli.StringFlag)
		switch {
		case !ok:
		case text.Name == optSnapshot:
			flags[i] = &cli.StringSliceFlag{Category: text.Category, Name: text.Name, Usage: text.Usage + "; may be repeated"}
		case text.Name == optTaskHub:
			flags[i] = &cli.StringSliceFlag{Category: text.Category, Name: text.Name, Usage: text.Usage + "; may be repeated"}
		}
	}
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), optTaskHub) })
	return slices.Insert(flags, i+1, cli.Flag(&cli.BoolFlag{
		Category: categoryAccount, DisableDefaultText: true, Name: optAllHubs, Usage: "all hubs of the account",
	}))
}
