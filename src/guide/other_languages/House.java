// KEY_ID=partner-1 SECRET=… java House.java METHOD URL [BODY]
import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.net.http.*;
import java.util.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class House {
    /** Returns the headers to send with exactly these bytes. */
    static Map<String, String> sign(String method, URI uri, byte[] body, String keyId,
            String secret) throws Exception {
        var path = uri.getRawPath().isEmpty() ? "/" : uri.getRawPath();
        var query = uri.getRawQuery() == null ? "" : "?" + uri.getRawQuery();
        var timestamp = String.valueOf(System.currentTimeMillis() / 1000);
        var nonce = UUID.randomUUID().toString();
        var lines = String.join("\n", method, uri.getRawAuthority().toLowerCase(Locale.ROOT),
                path + query, keyId, timestamp, nonce, "");
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"));
        mac.update(lines.getBytes(UTF_8));
        return Map.of("x-key-id", keyId, "x-timestamp", timestamp, "x-nonce", nonce,
                "x-signature", "sha256=" + HexFormat.of().formatHex(mac.doFinal(body)));
    }

    public static void main(String[] args) throws Exception {
        var uri = URI.create(args[1]);
        var body = (args.length > 2 ? args[2] : "").getBytes(UTF_8);
        var request = HttpRequest.newBuilder(uri).version(HttpClient.Version.HTTP_1_1).method(
                args[0], body.length > 0 ? HttpRequest.BodyPublishers.ofByteArray(body)
                        : HttpRequest.BodyPublishers.noBody());
        request.header("content-type", "application/json");
        sign(args[0], uri, body, System.getenv("KEY_ID"), System.getenv("SECRET"))
                .forEach(request::header);
        var answer = HttpClient.newHttpClient().send(request.build(),
                HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body() + "\n" + answer.statusCode());
    }
}
