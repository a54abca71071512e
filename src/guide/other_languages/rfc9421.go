// KEY_ID=partner-1 SECRET=… go run rfc9421.go METHOD URL [BODY]
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// sign adds the headers that go with exactly these bytes.
func sign(request *http.Request, contentType string, body []byte, keyID, secret string) {
	path, nonce := request.URL.EscapedPath(), make([]byte, 16)
	if path == "" {
		path = "/"
	}
	if _, err := rand.Read(nonce); err != nil {
		log.Fatal(err)
	}
	covered := [][2]string{
		{"@method", request.Method},
		{"@authority", strings.ToLower(request.URL.Host)},
		{"@path", path},
		{"@query", "?" + request.URL.RawQuery},
	}
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Content-Digest", digest)
		covered = append(covered,
			[2]string{"content-type", contentType}, [2]string{"content-digest", digest})
	}
	var names []string
	message := ""
	for _, part := range covered {
		names = append(names, `"`+part[0]+`"`)
		message += fmt.Sprintf("\"%s\": %s\n", part[0], part[1])
	}
	parameters := fmt.Sprintf(`(%s);created=%d;keyid="%s";nonce="%x"`,
		strings.Join(names, " "), time.Now().Unix(), keyID, nonce)
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, message+`"@signature-params": `+parameters)
	request.Header.Set("Signature-Input", "sig1="+parameters)
	request.Header.Set("Signature",
		"sig1=:"+base64.StdEncoding.EncodeToString(mac.Sum(nil))+":")
}

func main() {
	body := []byte(strings.Join(os.Args[3:], ""))
	request, err := http.NewRequest(os.Args[1], os.Args[2], bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	sign(request, "application/json", body, os.Getenv("KEY_ID"), os.Getenv("SECRET"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n%d\n", text, answer.StatusCode)
}
