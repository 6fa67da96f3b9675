/* Names by which volumes and claims are told things: annotations, labels and
 * finalizers that masters and agents agree on. */
#pragma once

/* Set on every claim and every volume when it is made; taken by the controllers once nobody uses
 * it. */
#define PVC_PROTECTION "kubernetes.io/pvc-protection"
#define PV_PROTECTION "kubernetes.io/pv-protection"

/* The binding is complete (of claims); the controller chose, not a client (of both). */
#define BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
/* Who made the volume. */
#define PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
/* Where the claim's first pod will run; who is asked to make the volume. */
#define SELECTED_NODE "volume.kubernetes.io/selected-node"
#define STORAGE_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define BETA_STORAGE_PROVISIONER "volume.beta.kubernetes.io/storage-provisioner"
#define BETA_STORAGE_CLASS "volume.beta.kubernetes.io/storage-class"
#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"
#define BETA_DEFAULT_CLASS "storageclass.beta.kubernetes.io/is-default-class"

#define LOCAL_PATH_PROVISIONER "sampan.io/local-path"
/* A label of its volumes: the node that has the folder. */
#define LOCAL_PATH_NODE "sampan.io/local-path-node"
/* An annotation of Nodes: the folder that holds their volumes' folders. */
#define LOCAL_PATH_FOLDER "sampan.io/local-path-folder"
/* On its volumes until the node has removed the folder, or need not. */
#define LOCAL_PATH_FINALIZER "sampan.io/local-path"
