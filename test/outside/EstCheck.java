import java.io.FileReader;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.HashSet;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/** BouncyCastle's EST client against a server: EstCheck HOST:PORT CA.pem DEVICE TOKEN. Each step says ok, or the program ends with 1. */
public class EstCheck {
  static Set<TrustAnchor> anchors;
  static String server;

  public static void main(String[] args) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    server = args[0];
    anchors = readAnchors(args[1]);
    String device = args[2];
    ESTService anonymous = builder(null, null).build();
    int authorities = anonymous.getCACerts().getCertificateStore().getMatches(null).size();
    want(authorities >= 2, "cacerts holds " + authorities);
    System.out.println("ok cacerts");

    CSRRequestResponse attributes = anonymous.getCSRAttributes();
    want(attributes.hasAttributesResponse() && attributes.getAttributesResponse().getRequirements().size() >= 3, "csrattrs");
    System.out.println("ok csrattrs " + attributes.getAttributesResponse().getRequirements());

    KeyPair key = newKey();
    var basic = new JcaHttpAuthBuilder(device, args[3].toCharArray()).setProvider("BC").build();
    X509Certificate first = one(anonymous.simpleEnroll(false, request(device, key), basic));
    want(first.getSubjectX500Principal().getName().contains("CN=" + device), first.getSubjectX500Principal().getName());
    want(first.getPublicKey().equals(key.getPublic()), "the certificate is for another key");
    System.out.println("ok simpleenroll");
    try {
      anonymous.simpleEnroll(false, request(device, newKey()), basic);
      want(false, "a token worked twice");
    } catch (Exception refused) {
      System.out.println("ok a token works once: " + refused.getMessage());
    }

    KeyPair next = newKey();
    X509Certificate second = one(builder(key, first).build().simpleEnroll(true, request(device, next), null));
    want(!second.getSerialNumber().equals(first.getSerialNumber()) && second.getPublicKey().equals(next.getPublic()), "the renewal is the same");
    System.out.println("ok simplereenroll");
  }

  static X509Certificate one(EnrollmentResponse response) throws Exception {
    want(response.isCompleted(), "it is not completed");
    var found = response.getStore().getMatches(null);
    want(found.size() == 1, found.size() + " certificates");
    return new JcaX509CertificateConverter().getCertificate((X509CertificateHolder) found.iterator().next());
  }

  static JsseESTServiceBuilder builder(KeyPair key, X509Certificate certificate) throws Exception {
    var trust = JcaJceUtils.getCertPathTrustManager(anchors, null);
    var builder = new JsseESTServiceBuilder(server, trust);
    if (key != null) {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      store.setKeyEntry("device", key.getPrivate(), new char[0], new X509Certificate[] {certificate});
      KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
      factory.init(store, new char[0]);
      builder.withKeyManagers(factory.getKeyManagers());
    }
    return builder;
  }

  static KeyPair newKey() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(new ECGenParameterSpec("secp256r1"));
    return generator.generateKeyPair();
  }

  static PKCS10CertificationRequest request(String device, KeyPair key) throws Exception {
    ContentSigner signer = new JcaContentSignerBuilder("SHA256withECDSA").build(key.getPrivate());
    return new JcaPKCS10CertificationRequestBuilder(new X500Name("CN=" + device), key.getPublic()).build(signer);
  }

  static Set<TrustAnchor> readAnchors(String path) throws Exception {
    Set<TrustAnchor> found = new HashSet<>();
    try (PEMParser parser = new PEMParser(new FileReader(path))) {
      for (Object next = parser.readObject(); next != null; next = parser.readObject()) {
        found.add(new TrustAnchor(new JcaX509CertificateConverter().getCertificate((X509CertificateHolder) next), null));
      }
    }
    return found;
  }

  static void want(boolean holds, String otherwise) {
    if (!holds) throw new IllegalStateException(otherwise);
  }
}
