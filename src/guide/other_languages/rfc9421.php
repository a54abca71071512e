<?php // KEY_ID=partner-1 SECRET=… php rfc9421.php METHOD URL [BODY]

/** Returns the headers to send with exactly these bytes. */
function sign($method, $url, $contentType, $body, $keyId, $secret)
{
    $target = parse_url($url);
    $port = isset($target['port']) ? ":{$target['port']}" : '';
    $headers = [];
    if ($body !== '') {
        $digest = base64_encode(hash('sha256', $body, true));
        $headers = ['content-type' => $contentType, 'content-digest' => "sha-256=:$digest:"];
    }
    $covered = [
        '@method' => $method,
        '@authority' => strtolower($target['host']) . $port,
        '@path' => $target['path'] ?? '/',
        '@query' => '?' . ($target['query'] ?? ''),
    ] + $headers;
    $names = '"' . implode('" "', array_keys($covered)) . '"';
    $created = time();
    $nonce = bin2hex(random_bytes(16));
    $parameters = "($names);created=$created;keyid=\"$keyId\";nonce=\"$nonce\"";
    $message = '';
    foreach ($covered as $name => $value) {
        $message .= "\"$name\": $value\n";
    }
    $message .= "\"@signature-params\": $parameters";
    $mac = base64_encode(hash_hmac('sha256', $message, $secret, true));
    return $headers + ['signature-input' => "sig1=$parameters", 'signature' => "sig1=:$mac:"];
}

[, $method, $url] = $argv;
$body = $argv[3] ?? '';
$headers = sign($method, $url, 'application/json', $body, getenv('KEY_ID'), getenv('SECRET'));
$lines = array_map(fn($name, $value) => "$name: $value", array_keys($headers), $headers);
$answer = file_get_contents($url, false, stream_context_create(['http' => [
    'method' => $method,
    'header' => $lines,
    'content' => $body,
    'protocol_version' => 1.1,
    'ignore_errors' => true, // a refused request has a body too
]]));
echo $answer, "\n", explode(' ', $http_response_header[0])[1], "\n";
