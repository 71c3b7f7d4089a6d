import java.util.Arrays;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;

/**
 * A load on ZooKeeper: Load HOSTS WORK CONNECTIONS IN_FLIGHT SECONDS VALUE_BYTES COUNT FAILOVER.
 *
 * <p>Each connection keeps IN_FLIGHT requests on their way through the asynchronous calls of ZooKeeper's own client. WORK is set,
 * create, get, mixed (90 % get), cas, handoffs (of one contended lock, a contender each), or watch-one / watch-own: CONNECTIONS
 * sessions with IN_FLIGHT watches each. It ends after
 * SECONDS, or after COUNT requests if that is not 0. Each session stays at one member, or with FAILOVER 1 goes to the next when it is lost.
 * Prints one line of JSON.
 */
public final class Load {
  private static final int KEYS = 1000;
  private static final int KEPT = 4_000_000; // latencies at most

  private final ZooKeeper[] sessions;
  private final String root = "/load-" + System.nanoTime();
  private final String work;
  private final int inFlight;
  private final byte[] value;
  private final long count;
  private final int[] latenciesUs = new int[KEPT];
  private final AtomicInteger done = new AtomicInteger();
  private final AtomicInteger errors = new AtomicInteger();
  private final AtomicLong asked = new AtomicLong();
  private final AtomicLong lastDone = new AtomicLong();
  private final AtomicLong longestGap = new AtomicLong();
  private volatile boolean measuring;
  private volatile boolean stopping;

  private Load(String[] hosts, String work, int connections, int inFlight, int valueBytes, long count, boolean failover) throws Exception {
    this.work = work;
    this.inFlight = inFlight;
    this.count = count;
    value = new byte[valueBytes];
    new Random(1).nextBytes(value);
    sessions = new ZooKeeper[connections];
    CountDownLatch connected = new CountDownLatch(connections);
    for (int i = 0; i < connections; i++) {
      AtomicInteger first = new AtomicInteger();
      Watcher watcher = event -> {
        if (event.getState() == Watcher.Event.KeeperState.SyncConnected && first.getAndIncrement() == 0) connected.countDown();
      };
      sessions[i] = new ZooKeeper(failover ? String.join(",", hosts) : hosts[i % hosts.length], 30_000, watcher);
    }
    if (!connected.await(60, TimeUnit.SECONDS)) throw new IllegalStateException("not all sessions are connected after 60 s");
  }

  private void create(String path) throws Exception {
    sessions[0].create(path, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
  }

  private void prepare(int keys) throws Exception {
    create(root);
    CountDownLatch left = new CountDownLatch(keys);
    for (int k = 0; k < keys; k++) {
      sessions[0].create(root + "/" + k, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, (rc, p, c, n) -> left.countDown(), null);
    }
    left.await();
    for (ZooKeeper session : sessions) { // all members have them
      CountDownLatch synced = new CountDownLatch(1);
      session.sync(root, (rc, p, c) -> synced.countDown(), null);
      synced.await();
    }
  }

  private void answered(long began, int rc) {
    long now = System.nanoTime();
    if (!measuring) return;
    if (rc != 0) {
      errors.incrementAndGet();
      return;
    }
    int at = done.getAndIncrement();
    if (at < KEPT) latenciesUs[at] = (int) ((now - began) / 1000);
    long before = lastDone.getAndSet(now);
    longestGap.accumulateAndGet(now - before, Math::max);
  }

  /** One of a connection's requests: asks again as soon as it is answered. */
  private final class Slot {
    private final ZooKeeper session;
    private final String own;
    private final Random random;
    private int version;
    private long began;

    Slot(ZooKeeper session, int number) {
      this.session = session;
      this.own = root + "/own-" + number;
      this.random = new Random(number);
    }

    void finished(int rc) {
      answered(began, rc);
      if (!stopping && (count == 0 || asked.getAndIncrement() < count)) ask();
    }

    void ask() {
      began = System.nanoTime();
      String key = root + "/" + random.nextInt(KEYS);
      switch (work) {
        case "create":
          session.create(own + "-" + version++, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, (rc, p, c, n) -> finished(rc), null);
          return;
        case "cas":
          session.setData(own, value, version++, (rc, p, c, stat) -> finished(rc), null);
          return;
        case "mixed":
          if (random.nextInt(10) != 0) {
            session.getData(key, false, (rc, p, c, data, stat) -> finished(rc), null);
            return;
          }
          break;
        case "get":
          session.getData(key, false, (rc, p, c, data, stat) -> finished(rc), null);
          return;
        default:
          break;
      }
      session.setData(key, value, -1, (rc, p, c, stat) -> finished(rc), null);
    }
  }

  private volatile long releasedAt;
  private final AtomicInteger holders = new AtomicInteger();

  /** ZooKeeper's recipe for a lock: an ephemeral sequential znode for each who wants it, and a watch of the one before. */
  private final class Contender {
    private final String lock = root + "/lock";
    private final ZooKeeper session;
    private String own;

    Contender(ZooKeeper session) {
      this.session = session;
    }

    void join() {
      session.create(lock + "/", new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL, (rc, p, c, name) -> {
        if (rc != 0) {
          answered(0, rc);
          return;
        }
        own = name.substring(lock.length() + 1);
        look();
      }, null);
    }

    private void look() {
      session.getChildren(lock, false, (rc, p, c, children) -> {
        String before = null;
        for (String child : children) {
          if (child.compareTo(own) < 0 && (before == null || child.compareTo(before) > 0)) before = child;
        }
        if (before == null) {
          hold();
          return;
        }
        Watcher gone = event -> {
          if (event.getType() == Watcher.Event.EventType.NodeDeleted) look();
        };
        session.getData(lock + "/" + before, gone, (code, q, d, data, stat) -> {
          if (code != 0) look(); // it went in between
        }, null);
      }, null);
    }

    /** A hand-over is from the call that gives it up until the next one knows that it has it. */
    private void hold() {
      answered(releasedAt, holders.getAndIncrement()); // a second holder would be an error
      String mine = lock + "/" + own;
      holders.decrementAndGet();
      releasedAt = System.nanoTime();
      session.delete(mine, -1, (rc, p, c) -> {}, null);
      if (!stopping) join();
    }
  }

  private double requests(double seconds) throws Exception {
    if (work.equals("handoffs")) create(root + "/lock");
    if (work.equals("cas")) {
      for (int i = 0; i < sessions.length * inFlight; i++) create(root + "/own-" + i);
    }
    asked.set((long) sessions.length * inFlight);
    int number = 0;
    boolean warm = count == 0;
    measuring = !warm;
    long began = System.nanoTime();
    lastDone.set(began);
    for (ZooKeeper session : sessions) {
      if (work.equals("handoffs")) {
        new Contender(session).join();
        continue;
      }
      for (int i = 0; i < inFlight; i++) new Slot(session, number++).ask();
    }
    if (!warm) {
      while (done.get() + errors.get() < count) Thread.sleep(1);
      return (System.nanoTime() - began) / 1e9;
    }
    Thread.sleep(3000); // the JVMs compile meanwhile
    began = System.nanoTime();
    lastDone.set(began);
    measuring = true;
    Thread.sleep((long) (1000 * seconds));
    measuring = false;
    double took = (System.nanoTime() - began) / 1e9;
    stopping = true;
    return took;
  }

  /** Each session watches IN_FLIGHT znodes (the very same one, or each its own); one writer sets them; each event is counted. */
  private double watches(double seconds) throws Exception {
    boolean one = work.equals("watch-one");
    AtomicLong sentAt = new AtomicLong();
    AtomicInteger awaited = new AtomicInteger();
    CountDownLatch added = new CountDownLatch(sessions.length * inFlight);
    for (int s = 0; s < sessions.length; s++) {
      for (int i = 0; i < inFlight; i++) {
        String path = root + "/" + (one ? 0 : s * inFlight + i);
        Watcher watcher = event -> {
          if (event.getType() == Watcher.Event.EventType.NodeDataChanged) {
            answered(sentAt.get(), 0);
            awaited.decrementAndGet();
          }
        };
        sessions[s].addWatch(path, watcher, AddWatchMode.PERSISTENT, (rc, p, c) -> added.countDown(), null);
      }
    }
    added.await();
    int watched = sessions.length * inFlight;
    long warm = System.nanoTime() + 3_000_000_000L; // the JVMs compile meanwhile
    long late = warm + (long) (seconds * 1e9) + 10_000_000_000L;
    long began = 0;
    long end = late;
    for (long now = System.nanoTime(); now < end; now = System.nanoTime()) {
      if (now >= warm && !measuring) {
        began = now;
        end = began + (long) (seconds * 1e9);
        lastDone.set(now);
        measuring = true;
      }
      awaited.set(watched);
      sentAt.set(System.nanoTime());
      if (one) {
        sessions[0].setData(root + "/0", value, -1, (rc, p, c, stat) -> {}, null);
      } else {
        for (int k = 0; k < watched; k++) sessions[k % sessions.length].setData(root + "/" + k, value, -1, (rc, p, c, stat) -> {}, null);
      }
      while (awaited.get() > 0 && System.nanoTime() < late) LockSupport.parkNanos(50_000); // a sleep would be a whole ms
    }
    measuring = false;
    return (System.nanoTime() - began) / 1e9;
  }

  public static void main(String[] args) throws Exception {
    String work = args[1];
    int connections = Integer.parseInt(args[2]);
    int inFlight = Integer.parseInt(args[3]);
    double seconds = Double.parseDouble(args[4]);
    boolean failover = args[7].equals("1");
    Load load = new Load(args[0].split(","), work, connections, inFlight, Integer.parseInt(args[5]), Long.parseLong(args[6]), failover);
    boolean watching = work.startsWith("watch");
    load.prepare(work.equals("watch-own") ? connections * inFlight : KEYS);
    double took = watching ? load.watches(seconds) : load.requests(seconds);
    int kept = Math.min(load.done.get(), KEPT);
    int[] sorted = Arrays.copyOf(load.latenciesUs, kept);
    Arrays.sort(sorted);
    String format = "{\"done\": %d, \"errors\": %d, \"rate_per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"longest_gap_ms\": %.1f}%n";
    System.out.printf(Locale.ROOT, format, load.done.get(), load.errors.get(), load.done.get() / took, part(sorted, 0.5), part(sorted, 0.99),
        part(sorted, 0.999), load.longestGap.get() / 1e6);
    System.out.flush();
    Runtime.getRuntime().halt(0); // closing a thousand sessions one by one measures nothing
  }

  private static double part(int[] sorted, double share) {
    return sorted.length == 0 ? 0 : sorted[Math.min((int) (sorted.length * share), sorted.length - 1)] / 1000.0;
  }
}
