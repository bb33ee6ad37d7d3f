#!/bin/sh
# Run a member of an etcd cluster that forms itself: cluster_etcd.sh join NAME SIZE DATA-FOLDER [options of crpc cluster join]
# A machine that replaces a failed one removes it, and joins in its place. It does not set up TLS: see docs/how-to/clusters.md.
set -eu

client_urls() {  # name=http://host:2380,… → http://host:2379,…
    echo "$1" | sed 's/[^,=]*=//g; s/:2380/:2379/g'
}

members() {  # id, status, name, peer URL, client URL
    etcdctl --endpoints "$(client_urls "$CLUSTER_OTHERS")" member list
}

ETCDCTL_API=3
export ETCDCTL_API

case ${1:-} in
join)
    name=$2 size=$3 data=$4
    shift 4
    export ETCD_DATA_DIR="$data"
    exec crpc cluster join "$name" --size "$size" --data "$data" --peer '{name}=http://{host}:2380' \
        --exec "exec $0 run" --on-replace "exec $0 replace" "$@"
    ;;
run)
    peer_url=${CLUSTER_PEER#*=}
    client_url=$(client_urls "$CLUSTER_PEER")
    exec etcd --name "$CLUSTER_SELF" --initial-cluster "$CLUSTER_PEERS" --initial-cluster-state "$CLUSTER_STATE" \
        --listen-peer-urls "$peer_url" --initial-advertise-peer-urls "$peer_url" \
        --listen-client-urls "$client_url" --advertise-client-urls "$client_url"
    ;;
replace)
    old=${CLUSTER_REPLACED_PEER#*=}
    own=${CLUSTER_PEER#*=}
    endpoints=$(client_urls "$CLUSTER_OTHERS")
    list=$(members)
    # By its URL, because a member that never started has no name.
    for id in $(echo "$list" | awk -F ', ' -v url="$old" '$4 == url { print $1 }'); do
        etcdctl --endpoints "$endpoints" member remove "$id"
    done
    list=$(members)
    echo "$list" | awk -F ', ' -v url="$own" '$4 == url { found = 1 } END { exit !found }' ||
        etcdctl --endpoints "$endpoints" member add "$CLUSTER_SELF" --peer-urls="$own"
    ;;
*)
    echo "usage: $0 join NAME SIZE DATA-FOLDER [options of crpc cluster join]" >&2
    exit 64
    ;;
esac
