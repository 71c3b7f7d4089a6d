"""coord beside ZooKeeper and etcd: the same work, on the same machine, in the same run."""
