// cert-manager's controller and cainjector, by the name that the program is started with. Their own
// `main` packages are modules that no proxy has, so this one starts the same controllers: those that
// issue from self-signed and CA issuers, and not ACME, Vault and Venafi, which take most of a full
// build's time.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cert-manager/cert-manager/pkg/logs"
)

// version is set when this is linked.
var version = "unknown"

// The arguments that cert-manager's chart gives to either, as far as they mean something here.
var (
	clusterNamespace string
	leaderNamespace  string
)

func main() {
	flags := pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.StringVar(&clusterNamespace, "cluster-resource-namespace", "kube-system", "of ClusterIssuers' Secrets")
	flags.StringVar(&leaderNamespace, "leader-election-namespace", "kube-system", "of the Lease")
	shown := flags.Bool("version", false, "print the version and end")
	err := flags.Parse(os.Args[1:])
	if *shown {
		os.Stdout.WriteString(version + "\n")
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx = logs.NewContext(ctx, logs.Log)
	ctrl.SetLogger(logs.Log)
	if err == nil {
		switch filepath.Base(os.Args[0]) {
		case "controller":
			err = runController(ctx)
		case "cainjector":
			err = runInjector(ctx)
		default:
			err = errors.New("started by a name that is neither controller nor cainjector")
		}
	}
	if err != nil {
		logs.Log.Error(err, "ended")
		os.Exit(1)
	}
}
