/* A whole cluster on this machine, for trying, testing and breaking.
 *
 *   DIR/netns/lan      a bridge, 172.30.0.0/24; masters run here at .11, .12, ...
 *   DIR/netns/node-1   one namespace per node at .101, ..., a veth to the bridge
 *   DIR/master-1/ ...  what sampan init and join write
 *   DIR/node-1/ ...
 *   DIR/run/NAME.pid   DIR/log/NAME.log   of master-1, node-1-agent, node-1-proxy, ...
 *   DIR/kubeconfig     https://127.0.0.1:PORT, where every master listens (SO_REUSEPORT)
 *
 * Namespaces are pinned below DIR and their addresses exist in them only, so
 * clusters never collide. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/status.h"

#define DEV_NAME_MAX 64
#define DEV_BRIDGE_IP "172.30.0.1"

/* --- dev_network.c: all by the ip command of iproute2 -------------------------------- */

/* Make (or find) the namespace DIR/netns/NAME. */
int dev_netns_make(const char *dir, const char *name, struct status *st);
/* The bridge with the addresses of masters masters. */
int dev_lan_set_up(const char *dir, int masters, struct status *st);
int dev_node_set_up(const char *dir, int node, struct status *st);
/* Unpin every namespace of DIR. */
void dev_netns_remove_all(const char *dir);
/* Move the calling process into it. */
int dev_netns_enter(const char *dir, const char *name, struct status *st);

/* --- dev_process.c -------------------------------------------------------------------- */

struct dev_process {
	char name[DEV_NAME_MAX];  /* Of its pid and log files. */
	const char *netns;        /* Where it runs. */
	const char *program;      /* sampan-master, ... */
	char *argv[8];            /* Ends with NULL; argv[0] is the program. */
	int listen_fd;            /* Handed over as a listening socket; -1: none. */
};

/* The pid in DIR/run/NAME.pid if it runs and is ours, else 0. */
pid_t dev_process_pid(const char *dir, const char *name);
/* Start it unless it runs already. */
int dev_process_start(const char *dir, const struct dev_process *p, struct status *st);
/* SIGTERM, then SIGKILL after grace_ms; waits until it is gone. */
void dev_process_stop(const char *dir, const char *name, int grace_ms);
/* End what our processes left behind: every program of that name that works in dir. */
void dev_process_sweep(const char *dir, const char *program);
/* Where our programs are: beside this one, or in the build tree. For the caller to free. */
char *dev_program_path(const char *program);
/* Names with a pid file, sorted; ends with NULL; for the caller to free with its strings. */
char **dev_process_names(const char *dir);
