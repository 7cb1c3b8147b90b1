import com.amazon.randomcutforest.RandomCutForest;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.nio.file.*;

/** Random cut forests over a folder of series: RandomCutForests IN OUT. Answers rows and processor seconds as JSON. */
public class RandomCutForests {
  /** Scores are about 1 for usual points and grow slowly: a fifth of them lies in [0, 1]. */
  private static final double SCALE = 5;

  public static void main(String[] args) throws Exception {
    Path source = Paths.get(args[0]), target = Paths.get(args[1]);
    var threads = ManagementFactory.getThreadMXBean();
    long rows = 0, nanos = 0;
    try (var files = Files.walk(source)) {
      for (Path file : files.filter(path -> path.toString().endsWith(".csv")).sorted().toList()) {
        var lines = Files.readAllLines(file);
        int count = lines.size() - 1;
        double[] scores = new double[count];
        var forest = RandomCutForest.builder().dimensions(8).shingleSize(8).internalShinglingEnabled(true)
            .numberOfTrees(50).sampleSize(256).randomSeed(42).parallelExecutionEnabled(false).outputAfter(32).build();
        long began = threads.getCurrentThreadCpuTime();
        for (int i = 0; i < count; i++) {
          double[] point = {Double.parseDouble(lines.get(i + 1).split(",")[1])};
          scores[i] = forest.getAnomalyScore(point);
          forest.update(point);
        }
        nanos += threads.getCurrentThreadCpuTime() - began;
        rows += count;
        Path out = target.resolve(source.relativize(file).toString());
        Files.createDirectories(out.getParent());
        try (var writer = new PrintWriter(out.toFile())) {
          writer.println("timestamp,value,anomaly_score");
          for (int i = 0; i < count; i++) writer.println(lines.get(i + 1) + "," + Math.min(1, scores[i] / SCALE));
        }
      }
    }
    System.out.println("{\"rows\":" + rows + ",\"seconds\":" + nanos / 1e9 + "}");
  }
}
