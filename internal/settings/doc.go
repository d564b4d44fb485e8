// Package settings finds out, as the Functions tools do, which storage account
// and which task hub an app is configured for: host.json in the working
// directory, environment variables, and local.settings.json.
//
// Start with [Load], then ask for a connection:
//
//	app, err := settings.Load(settings.Options{Dir: ".", LookupEnv: os.LookupEnv})
//	…
//	c, err := app.Connection(app.ConnectionName)
//
// Every value is a [Value] and remembers where it came from. Nothing here talks
// to the network, and no error holds the text of a setting that may be secret.
package settings
