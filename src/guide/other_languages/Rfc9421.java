// KEY_ID=partner-1 SECRET=… java Rfc9421.java METHOD URL [BODY]
import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.net.http.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Rfc9421 {
    /** Returns the headers to send with exactly these bytes. */
    static Map<String, String> sign(String method, URI uri, String contentType, byte[] body,
            String keyId, String secret) throws Exception {
        var headers = new LinkedHashMap<String, String>();
        if (body.length > 0) {
            var digest = MessageDigest.getInstance("SHA-256").digest(body);
            headers.put("content-type", contentType);
            headers.put("content-digest", "sha-256=:" + base64(digest) + ":");
        }
        var path = uri.getRawPath();
        var query = uri.getRawQuery();
        var covered = new LinkedHashMap<String, String>();
        covered.put("@method", method);
        covered.put("@authority", uri.getRawAuthority().toLowerCase(Locale.ROOT));
        covered.put("@path", path.isEmpty() ? "/" : path);
        covered.put("@query", "?" + (query == null ? "" : query));
        covered.putAll(headers);

        var names = covered.keySet().stream().map(name -> '"' + name + '"')
                .collect(Collectors.joining(" "));
        var parameters = "(" + names + ");created=" + System.currentTimeMillis() / 1000
                + ";keyid=\"" + keyId + "\";nonce=\"" + UUID.randomUUID() + '"';
        var message = covered.entrySet().stream()
                .map(part -> '"' + part.getKey() + "\": " + part.getValue() + "\n")
                .collect(Collectors.joining()) + "\"@signature-params\": " + parameters;
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"));
        headers.put("signature-input", "sig1=" + parameters);
        headers.put("signature", "sig1=:" + base64(mac.doFinal(message.getBytes(UTF_8))) + ":");
        return headers;
    }

    static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    public static void main(String[] args) throws Exception {
        var uri = URI.create(args[1]);
        var body = (args.length > 2 ? args[2] : "").getBytes(UTF_8);
        var request = HttpRequest.newBuilder(uri).version(HttpClient.Version.HTTP_1_1).method(
                args[0], body.length > 0 ? HttpRequest.BodyPublishers.ofByteArray(body)
                        : HttpRequest.BodyPublishers.noBody());
        sign(args[0], uri, "application/json", body, System.getenv("KEY_ID"),
                System.getenv("SECRET")).forEach(request::header);
        var answer = HttpClient.newHttpClient().send(request.build(),
                HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body() + "\n" + answer.statusCode());
    }
}
