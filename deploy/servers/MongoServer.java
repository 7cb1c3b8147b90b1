import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import java.util.List;
import org.h2.mvstore.MVMap;

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
    MongoBackend backend = new Backend(args.length > 1 ? args[1] : null).version(VERSION);
    MongoServer server = new MongoServer(backend);
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
    server.bind("127.0.0.1", Integer.parseInt(args[0]));
    System.out.println("listening");
  }

  static class Backend extends H2Backend {
    Backend(String fileOrNull) {
      super(fileOrNull);
    }

    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
      return new Database(name);
    }

    class Database extends H2Database {
      Database(String name) {
        super(name, getMvStore(), getCursorRegistry());
      }

      @Override
      protected MongoCollection<Object> openOrCreateCollection(String name, CollectionOptions options) {
        String space = getFullCollectionNamespace(name);
        MVMap<Object, Document> documents = getMvStore().openMap("databases." + space);
        return new Collection(this, name, options, documents, getMvStore().openMap("meta." + space), cursorRegistry);
      }
    }
  }

  /**
   * Answers copies of what it keeps. The library writes into a kept document key by key, and an answer is sent after its lock is free: a reader
   * got some keys of one version and some of the next, which MongoDB never does.
   */
  static class Collection extends H2Collection {
    Collection(
        MongoDatabase database,
        String name,
        CollectionOptions options,
        MVMap<Object, Document> documents,
        MVMap<String, Object> meta,
        CursorRegistry cursors) {
      super(database, name, options, documents, meta, cursors);
    }

    @Override
    protected QueryResult createQueryResult(List<Document> found, int batchSize) {
      return super.createQueryResult(found.stream().map(Document::cloneDeeply).toList(), batchSize);
    }
  }
}
