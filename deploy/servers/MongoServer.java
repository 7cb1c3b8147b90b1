import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/** A server of MongoDB's wire protocol that keeps its documents in an H2 file, or in memory without one: java -cp 'lib/*' MongoServer.java PORT [FILE]. */
class StandIn {
  /** What it announces: drivers of today refuse the wire versions it knows by name. */
  static final MongoVersion VERSION =
      new MongoVersion() {
        public List<Integer> getVersionArray() {
          return List.of(6, 0, 0);
        }

        public int getWireVersion() {
          return 17;
        }
      };

  public static void main(String[] args) {
    MongoServer server = new MongoServer((args.length > 1 ? new H2Backend(args[1]) : H2Backend.inMemory()).version(VERSION));
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
    server.bind("127.0.0.1", Integer.parseInt(args[0]));
    System.out.println("listening");
  }
}
