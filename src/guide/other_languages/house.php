<?php // KEY_ID=partner-1 SECRET=… php house.php METHOD URL [BODY]

/** Returns the headers to send with exactly these bytes. */
function sign($method, $url, $body, $keyId, $secret)
{
    $target = parse_url($url);
    $authority = strtolower($target['host']) . (isset($target['port']) ? ":{$target['port']}" : '');
    $query = isset($target['query']) ? "?{$target['query']}" : '';
    $timestamp = time();
    $nonce = bin2hex(random_bytes(16));
    $path = ($target['path'] ?? '/') . $query;
    $message = implode("\n", [$method, $authority, $path, $keyId, $timestamp, $nonce, $body]);
    return [
        "x-key-id: $keyId",
        "x-timestamp: $timestamp",
        "x-nonce: $nonce",
        'x-signature: sha256=' . hash_hmac('sha256', $message, $secret),
    ];
}

[, $method, $url] = $argv;
$body = $argv[3] ?? '';
$headers = sign($method, $url, $body, getenv('KEY_ID'), getenv('SECRET'));
$headers[] = 'content-type: application/json';
$answer = file_get_contents($url, false, stream_context_create(['http' => [
    'method' => $method,
    'header' => $headers,
    'content' => $body,
    'protocol_version' => 1.1,
    'ignore_errors' => true, // a refused request has a body too
]]));
echo $answer, "\n", explode(' ', $http_response_header[0])[1], "\n";
