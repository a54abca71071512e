// KEY_ID=partner-1 SECRET=… go run house.go METHOD URL [BODY]
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// sign adds the headers that go with exactly these bytes.
func sign(request *http.Request, body []byte, keyID, secret string) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		log.Fatal(err)
	}
	timestamp, nonce := fmt.Sprint(time.Now().Unix()), fmt.Sprintf("%x", random)
	mac := hmac.New(sha256.New, []byte(secret))
	for _, line := range []string{
		request.Method,
		strings.ToLower(request.URL.Host),
		request.URL.RequestURI(),
		keyID,
		timestamp,
		nonce,
	} {
		fmt.Fprintf(mac, "%s\n", line)
	}
	mac.Write(body)
	request.Header.Set("X-Key-Id", keyID)
	request.Header.Set("X-Timestamp", timestamp)
	request.Header.Set("X-Nonce", nonce)
	request.Header.Set("X-Signature", fmt.Sprintf("sha256=%x", mac.Sum(nil)))
}

func main() {
	body := []byte(strings.Join(os.Args[3:], ""))
	request, err := http.NewRequest(os.Args[1], os.Args[2], bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	sign(request, body, os.Getenv("KEY_ID"), os.Getenv("SECRET"))
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
